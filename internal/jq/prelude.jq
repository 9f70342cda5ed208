# Bounded stand-ins for builtins that gojq carries out in one uninterruptible
# piece. rewrite.go sends calls of the name after _erb_ here. Bodies call gojq's
# own functions, and each stands after those it calls; what starts with _erb_ and is not defined here is Go (native.go).
def _erb_tojson: _erb_room($_erb; 10) | tojson;
def _erb_tostring: if type == "string" then . else _erb_room($_erb; 10) | tostring end;
def _erb_explode: _erb_room($_erb; 24) | explode;
def _erb_implode: _erb_small($_erb) | implode;
def _erb_split($x): _erb_pieces($_erb; $x) | split($x);
def _erb_ascii_downcase: _erb_small($_erb) | ascii_downcase;
def _erb_ascii_upcase: _erb_small($_erb) | ascii_upcase;
def _erb_flatten: _erb_room($_erb; 2) | flatten;
def _erb_flatten($d): _erb_room($_erb; 2) | flatten($d);
def _erb_sort: _erb_sorted($_erb; .) | sort;
def _erb_unique: _erb_sorted($_erb; .) | unique;
def _erb_min: _erb_sorted($_erb; .) | min;
def _erb_max: _erb_sorted($_erb; .) | max;
def _erb_sort_by(f): map([f]) as $k | _erb_sorted($_erb; $k) | _sort_by($k);
def _erb_group_by(f): map([f]) as $k | _erb_sorted($_erb; $k) | _group_by($k);
def _erb_unique_by(f): map([f]) as $k | _erb_sorted($_erb; $k) | _unique_by($k);
def _erb_min_by(f): map([f]) as $k | _erb_sorted($_erb; $k) | _min_by($k);
def _erb_max_by(f): map([f]) as $k | _erb_sorted($_erb; $k) | _max_by($k);
def _erb_bsearch($x): _erb_small($_erb) | _erb_check($_erb; $x) | bsearch($x);
def _erb_contains($x): _erb_product($_erb; $x) | contains($x);
def _erb_inside($x): _erb_product($_erb; $x) | inside($x);
def _erb_indices($x): _erb_places($_erb; $x) | indices($x);
def _erb_index($x): _erb_places($_erb; $x) | index($x);
def _erb_rindex($x): _erb_places($_erb; $x) | rindex($x);
def _erb_transpose: _erb_rows($_erb) | transpose;
def _erb_tonumber: _erb_digits($_erb) | tonumber;
def _erb_format($f): _erb_room($_erb; 10) | format($f);
def _erb_strftime($f): _erb_layout($_erb; $f) | strftime($f);
def _erb_strflocaltime($f): _erb_layout($_erb; $f) | strflocaltime($f);
def _erb_strptime($f): _erb_layout($_erb; $f) | strptime($f);
def _erb_fromjson: _erb_decode($_erb);
def _erb_now: _erb_clock($_erb);
def _erb_error: _erb_small($_erb) | error;
def _erb_error($x): _erb_check($_erb; $x) | error($x);
def _erb_add: _erb_sum($_erb);
def _erb_add(f): [f] | _erb_sum($_erb);
def _erb_join($x): _erb_joined($_erb; $x);
def _erb_reverse: _erb_small($_erb) | reverse;
def _erb_keys: _erb_room($_erb; 2) | keys;
def _erb_path(f): path(f) | _erb_made($_erb);
def _erb_paths: _erb_path(..) | select(. != []);
def _erb_paths(f): _erb_path(.. | select(f)) | select(. != []);
def _erb_tostream: _erb_path(def r: (.[]? | r), .; r) as $p | getpath($p) | reduce path(.[]?) as $q ([$p, .]; [$p + $q]);
def _erb_getpath(p): getpath(p | _erb_route($_erb));
def _erb_setpath(p; v): p as $p | v as $v | _erb_check($_erb; $p | _erb_route($_erb)) | _erb_copies($_erb; $p) | setpath($p; $v);
def _erb_delpaths($p): _erb_small($_erb) | delpaths($p);
def _erb_del(f): _erb_small($_erb) | delpaths([path(f)]);
def _erb_pick(f): . as $v | reduce path(f) as $p (null; _erb_setpath($p; $v | getpath($p)));
def _erb_assign(p; $x): reduce path(p) as $q (.; _erb_setpath($q; $x));
def _erb_modify(p; f):
  reduce path(p) as $q ([., []];
    . as $s | label $out |
    (($s[0] | getpath($q) | f) as $v | [($s[0] | _erb_setpath($q; $v)), $s[1]] | ., break $out),
    [$s[0], $s[1] + [$q]])
  | . as $s | if ($s[1] | length) == 0 then $s[0] else $s[0] | _erb_delpaths($s[1]) end;
def _erb_map_values(f):
  if type == "array" then [.[] | first(f)]
  else . as $o | [keys[] as $k | {($k): first($o[$k] | f)}] | add // {} end;
def _erb_walk(f):
  def w: if type == "array" then map(w) elif type == "object" then _erb_map_values(w) else . end | f;
  w;
def _erb_IN(s): any(_erb_eq($_erb; s; .); .);
def _erb_IN(src; s): any(_erb_eq($_erb; src; s); .);
def _erb_INDEX(stream; f): [stream as $row | {($row | f | _erb_tostring): $row}] | add // {};
def _erb_INDEX(f): _erb_INDEX(.[]; f);
def _erb_match($re; $flags): _erb_regexp($_erb; $re; $flags; false)[];
def _erb_match($re):
  if $re | type == "array" then _erb_match($re[0]; $re[1]) else _erb_match($re; null) end;
def _erb_test($re; $flags): _erb_regexp($_erb; $re; $flags; true);
def _erb_test($re):
  if $re | type == "array" then _erb_test($re[0]; $re[1]) else _erb_test($re; null) end;
def _erb_capture($re; $flags): _erb_match($re; $flags) | .captures | _captures;
def _erb_capture($re):
  if $re | type == "array" then _erb_capture($re[0]; $re[1]) else _erb_capture($re; null) end;
def _erb_scan($re; $flags):
  _erb_match($re; $flags + "g") |
  if .captures == [] then .string else [.captures[].string] end;
def _erb_scan($re): _erb_scan($re; null);
def _erb_splits($re; $flags):
  .[foreach (_erb_match($re; $flags + "g"), null) as {$offset, $length}
      (null; {start: .next, end: $offset, next: $offset + $length})];
def _erb_splits($re): _erb_splits($re; null);
def _erb_split($re; $flags): [_erb_splits($re; $flags)];
def _erb_sub($re; str; $flags):
  reduce _erb_match($re; $flags) as {$offset, $length, $captures}
    ({s: ., r: []};
      reduce ($captures | _captures | str) as $s
        (.i = 0; .r[.i] = _erb_plus($_erb; .r[.i]; _erb_plus($_erb; .s[.next:$offset]; $s)) | .i += 1) |
      .next = $offset + $length) |
  if .r == [] then .s else .s[.next:] as $rest | .r[] | _erb_plus($_erb; .; $rest) end;
def _erb_sub($re; str): _erb_sub($re; str; null);
def _erb_gsub($re; str; $flags): _erb_sub($re; str; $flags + "g");
def _erb_gsub($re; str): _erb_sub($re; str; "g");
