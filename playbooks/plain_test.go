package playbooks

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// fill sets every field of a struct to something, or now and then to nothing.
func fill(random *rand.Rand, v reflect.Value) {
	texts := []string{"", "x", "\xff\xfe\xe2\x82", "a\u2028<&>\x00", "ü"}
	if random.IntN(4) == 0 {
		return
	}
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(random.Int64N(1e9), random.Int64N(1e9)).UTC()))
		return
	case json.RawMessage:
		v.Set(reflect.ValueOf(json.RawMessage(`{"a": [1, null, "b"]}`)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(texts[random.IntN(len(texts))])
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(random.Int64N(1e12))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(random, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), random.IntN(3), 3))
		for i := range v.Len() {
			fill(random, v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for _, k := range texts[:random.IntN(len(texts))] {
			v.SetMapIndex(reflect.ValueOf(k), reflect.ValueOf(texts[random.IntN(len(texts))]))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(random, v.Field(i))
		}
	default:
		panic("plain_test: a field of a new kind: " + v.Type().String())
	}
}

func TestPlainAlertIsPlain(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		var a soar.Alert
		fill(random, reflect.ValueOf(&a).Elem())
		got, err := plainAlert(&a)
		if err != nil {
			t.Fatal(err)
		}
		want, err := soar.Plain(a)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v\n got %v\nwant %v", a, got, want)
		}
	}
}

func TestPlainOutput(t *testing.T) {
	deep := any("x")
	for range 200 {
		deep = []any{deep}
	}
	big := map[string]any{"x": string(make([]byte, maxOutput))}
	for _, v := range []any{nil, true, 1.5, "x", []any{"a", nil}, map[string]any{"a": []any{1.0}}, 5, soar.Host{Name: "x"}, map[string]any{"n": 7}, "\xff", deep} {
		got, err := plainOutput(v)
		want, werr := soar.Plain(v)
		if err != nil || werr != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("plainOutput(%v) = %v, %v, want %v", v, got, err, want)
		}
	}
	for _, v := range []any{big, math.NaN(), func() {}, []any{big}} {
		if got, err := plainOutput(v); err == nil {
			t.Errorf("plainOutput(%T) = %T", v, got)
		}
	}
}
