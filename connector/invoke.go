package connector

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector/catalogue"
)

// Invocation is a call of the catalogue with arguments that were found good. Making
// one sends nothing.
type Invocation struct {
	// Call is the call's entry in the catalogue.
	Call *catalogue.Call

	values map[string]any // by name, as JSON has them
	file   Upload         // of the argument of type file, if it was given
	k      call
	in     any // what do and fetch take
}

// NewInvocation checks arguments by the catalogue and builds the request. data is a
// JSON object of arguments, or nil; of a name that is given in both, given counts.
// The error names every mistake, each on a line of its own, and wraps ErrInvalid.
// A call that would reach every host because it names none is ErrEmptyTarget.
func NewInvocation(of *catalogue.Call, data []byte, given ...Argument) (*Invocation, error) {
	i := &Invocation{Call: of, values: map[string]any{}}
	if err := i.take(data, given); err != nil {
		return nil, err
	}
	if err := i.guard(); err != nil {
		return nil, err
	}
	if err := i.build(); err != nil {
		return nil, err
	}
	return i, nil
}

// targets are the arguments of which a call needs one, because it might mean every
// host without. Observed on release 2.1.2: empty nodes and tags are every host.
var targets = map[string][]string{
	callDistributedAdd.id:       {"nodes", "tags", "os_name"},
	callV0DistributedAdd.id:     {"nodes", "tags"},
	callResponseAdd.id:          {"actuator_id", "tags", "os_name"},
	callResponseCustomAction.id: {"host_identifier", "tags", "os_name"},
	callHostsEnableBulk.id:      {"host_identifiers", "node_ids"},
	callHostsDeleteBulk.id:      {"host_identifiers", "node_ids"},
	callHostsArchiveBulk.id:     {"host_identifiers", "node_ids"},
}

// guard refuses what the server takes for something larger than it looks.
func (i *Invocation) guard() error {
	names := targets[i.Call.ID]
	if names != nil && !slices.ContainsFunc(names, func(name string) bool { return !isEmpty(i.values[name]) }) {
		return fmt.Errorf("%s: %w: give %s", i.Call.ID, ErrEmptyTarget, strings.Join(names, " or "))
	}
	// Releases 2.1.2 and 4.0 take a missing resolve for false, whatever the guide says.
	if i.Call.ID == callAlertsUpdate.id && i.values["resolve"] == nil {
		return argumentError{i.Call.ID, "resolve: say true to resolve or false to reopen; the server reopens alerts without it"}
	}
	return nil
}

func isEmpty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return strings.Trim(v, ", ") == ""
	case []string:
		return len(v) == 0
	case []int64:
		return len(v) == 0
	}
	return false
}

// callOf is a call of the catalogue as the generated table has it.
func callOf(c *catalogue.Call) call {
	k := call{
		id: c.ID, method: c.Method, path: c.Path, effect: c.Effect != catalogue.Reads, enterprise: c.Enterprise(), open: c.Open, bare: c.Bare, byID: c.One,
	}
	switch c.Base {
	case catalogue.V0:
		k.base = baseV0
	case catalogue.Server:
		k.base = baseServer
	}
	if c.Since != "2.1.2" && c.Since != "2.0" || c.Until != "" {
		k.releases = c.Availability()
	}
	return k
}

// build puts the arguments where the call wants them.
func (i *Invocation) build() error {
	k := callOf(i.Call)
	// A logout needs no token to be answered, and one to have an effect.
	k.open = k.open && k.id != callAuthLogout.id
	var parts []string
	rest := map[string]any{}
	for _, p := range i.Call.Params {
		if v, ok := i.values[p.Name]; ok && p.In == "" {
			rest[p.Name] = v
		}
	}
	for part := range strings.SplitSeq(i.Call.Path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			parts = append(parts, plainText(i.values[strings.TrimSuffix(name, "}")]))
		}
	}
	var err error
	if i.k, err = k.with(parts...); err != nil {
		return err
	}
	switch i.Call.Arguments {
	case "query":
		i.k.query = queryOf(rest)
	case "form":
		i.in = body{"application/x-www-form-urlencoded", []byte(queryOf(rest).Encode())}
	case "multipart":
		return i.buildUpload(rest)
	case "json":
		if len(rest) > 0 {
			i.in = rest
		}
	}
	return nil
}

// buildUpload makes the body of an upload. A call that also does without a file
// takes JSON then (REST guide 4.0.0, "Custom action").
func (i *Invocation) buildUpload(rest map[string]any) (err error) {
	if i.file.Content == nil {
		i.in = rest
		return nil
	}
	fields := map[string]string{}
	for name, v := range rest {
		fields[name] = plainText(v)
	}
	i.in, err = multipartBody(i.file, fields)
	return err
}

// queryOf makes the arguments of a query string or a form; lists are comma text.
func queryOf(values map[string]any) url.Values {
	q := url.Values{}
	for name, v := range values {
		q.Set(name, plainText(v))
	}
	return q
}

// Target is the request as people name it, such as PUT /hosts/7/delete.
func (i *Invocation) Target() string { return i.k.method + " " + i.k.path }

// Secrets are the values of those arguments that are secrets by their name, for
// keeping them out of what is shown.
func (i *Invocation) Secrets() []string {
	var all []string
	for name, v := range i.values {
		all = i.secretsIn(all, v, i.isSecret(name))
	}
	return all
}

func (i *Invocation) isSecret(name string) bool {
	return catalogue.IsSecret(name) || slices.Contains(i.Call.Secrets, name)
}

// secretsIn adds the secrets in v, which is one as a whole if its name says so.
func (i *Invocation) secretsIn(all []string, v any, secret bool) []string {
	switch v := v.(type) {
	case map[string]any:
		for name, item := range v {
			all = i.secretsIn(all, item, secret || i.isSecret(name))
		}
	case []any:
		for _, item := range v {
			all = i.secretsIn(all, item, secret)
		}
	case []string:
		for _, item := range v {
			all = i.secretsIn(all, item, secret)
		}
	case string:
		if secret && v != "" {
			all = append(all, v)
		}
	}
	return all
}

// InvokeAnswer is what an invocation brought.
type InvokeAnswer struct {
	// Body is the answer, of calls that answer with JSON or a page; NaN, which the
	// server's encoder lets through, is null.
	Body []byte
	// ContentType is that of Body.
	ContentType string
	// Location is where a redirect leads.
	Location string
	// Written is how many bytes went to the writer, of CSV and files.
	Written int64
}

// Invoke makes a call of the catalogue. Reads are repeated as those of the section
// methods are, calls with an effect are sent once, and errors mean the same. CSV and
// files go to w while they arrive; after an error, what w has is not the whole. An
// answer in which the server says no is an error, and no answer. Websockets are for
// Frames. A live query by OS name is ErrUnavailable before release 3.5, as that of
// Queries.Live is.
func (c *Client) Invoke(ctx context.Context, i *Invocation, w io.Writer) (out InvokeAnswer, err error) {
	if i.Call.ID == callDistributedAdd.id && !isEmpty(i.values["os_name"]) {
		if err := c.Queries.knowsOSNames(ctx); err != nil {
			return out, err
		}
	}
	switch {
	case i.Call.Method == methodSocket:
		return out, fmt.Errorf("%s: %w: it is a websocket", i.Call.ID, ErrInvalid)
	case i.Call.Answer == "csv":
		out.Written, err = c.export(ctx, i.k, i.in, w)
	case i.Call.Answer == "file":
		out.Written, err = c.invokeFile(ctx, i, w)
	case i.Call.Answer == "json":
		out.ContentType = typeJSON
		err = c.do(ctx, i.k, i.in, func(v value) { out.Body = v.encoded() })
	default:
		out, err = c.invokePage(ctx, i)
	}
	return out, err
}

// encoded is the text of a whole answer.
func (v value) encoded() []byte {
	if v.source != nil {
		return v.source
	}
	text, err := json.Marshal(v.v)
	if err != nil {
		return []byte("null") // it came out of JSON
	}
	return text
}

// invokeFile downloads a file. Those whose kind is known are looked at.
func (c *Client) invokeFile(ctx context.Context, i *Invocation, w io.Writer) (int64, error) {
	var info DownloadInfo
	var err error
	switch i.k.id {
	case callCarvesDownload.id:
		info, err = c.Carves.Download(ctx, plainText(i.values["session_id"]), w)
	case callDownloadCertificate.id:
		info, err = c.Downloads.Certificate(ctx, w)
	case callDownloadCptWindows.id:
		info, err = c.Downloads.WindowsTool(ctx, w)
	case callDownloadCptLinux.id:
		info, err = c.Downloads.LinuxTool(ctx, w)
	case callDownloadCptMacos.id:
		info, err = c.Downloads.MacTool(ctx, w)
	default:
		n, err := c.fetch(ctx, i.k, i.in, isNoPage, w)
		if err == nil && n == 0 {
			err = fmt.Errorf("%s %s: %w: it is empty", i.k.method, i.k.path, ErrBadFile)
		}
		return n, err
	}
	return info.Bytes, err
}

// invokePage makes a call whose answer is for a browser: a page, or a redirect to one.
func (c *Client) invokePage(ctx context.Context, i *Invocation) (out InvokeAnswer, err error) {
	defer c.metrics.observe(i.k.id, time.Now(), &err)
	sent, err := bodyOf(i.k, i.in)
	if err != nil {
		return out, err
	}
	a, err := c.authorized(ctx, i.k, sent)
	if err != nil {
		return out, err
	}
	out.ContentType = a.header.Get("Content-Type")
	switch {
	case a.status >= 300 && a.status < 400 && a.header.Get("Location") != "":
		out.Location = a.header.Get("Location")
		return out, nil
	case good(a.status) && isPage(a) && i.Call.Answer == "html":
		out.Body = a.body
		return out, nil
	case good(a.status) && isPage(a) && i.Call.ID == callAuthSsoLogin.id:
		return InvokeAnswer{}, ssoRefusal(i.k, a)
	}
	if err := c.judge(i.k, a, func(v value) { out.Body = v.encoded() }); err != nil {
		return InvokeAnswer{}, err
	}
	return out, nil
}

// argumentError is a mistake in the arguments of a call.
type argumentError struct{ call, text string }

func (e argumentError) Error() string { return e.call + ": " + e.text }

func (argumentError) Unwrap() error { return ErrInvalid }
