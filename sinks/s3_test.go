package sinks_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

const s3Secret = "s3cret/of+the+access=key"

func s3Settings(url string) *sinks.S3Settings {
	return &sinks.S3Settings{
		Endpoint: url, Bucket: "soc-archive", Prefix: "/er/a b/", Region: "eu-central-1", AccessKey: "AKIDEXAMPLE", SecretKey: soar.SecretValue(s3Secret),
		PathStyle: true, Format: "json", OnlyNew: true, Timeout: time.Minute,
	}
}

// newS3 runs a store that has the bucket of s3Settings.
func newS3(t *testing.T) (*sinksim.S3, *sinks.S3Settings) {
	t.Helper()
	sim := &sinksim.S3{Bucket: "soc-archive", Region: "eu-central-1", AccessKey: "AKIDEXAMPLE", SecretKey: s3Secret}
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	return sim, s3Settings(srv.URL)
}

func idsOf(t *testing.T, lines []string) []string {
	t.Helper()
	var ids []string
	for _, line := range lines {
		var ev soar.Event
		if err := json.Unmarshal([]byte(line), &ev); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		ids = append(ids, ev.ID)
	}
	return ids
}

func TestS3Contract(t *testing.T) {
	sinktest.Run(t, sinktest.Harness{
		MaxBatch: 5000, Secrets: []string{s3Secret},
		Answer: func(status int) string {
			return fmt.Sprintf(`<?xml version="1.0"?><Error><Code>Status%d</Code><Message>%s</Message></Error>`, status, s3Secret)
		},
		Open: func(t *testing.T, r sinktest.Receiver) sinks.Sink {
			s := s3Settings(r.URL)
			s.CAFile = r.CAFile
			return openSIEM(t, "s3", s)
		},
		OK: func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.Header().Set("ETag", `"1"`) },
		IDs: func(t *testing.T, r *http.Request, body []byte) []string {
			lines, err := sinksim.S3Object{Body: body}.Lines()
			if err != nil {
				t.Fatal(err)
			}
			return idsOf(t, lines)
		},
	})
}

// Each hour has an object, with what identifies the batch in its key.
func TestS3Objects(t *testing.T) {
	sim, settings := newS3(t)
	settings.ServerSideEncryption, settings.KMSKey = "aws:kms", "alias/soc"
	s := closeAfter(t, openSIEM(t, "s3", settings))
	events := sinktest.Events(5)
	events[0].ID = "er/../1\n"
	for i := range events {
		events[i].At = time.Date(2026, 11, 22, 23, 59, 57, 0, time.UTC).Add(time.Duration(i) * time.Second)
	}
	if err := s.Send(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	objects := sim.Objects()
	if len(objects) != 2 {
		t.Fatalf("%d objects, want one for each hour", len(objects))
	}
	for i, want := range []struct {
		key string
		ids []string
	}{
		{`^er/a b/dt=2026-11-22/hour=23/er_.._1_-er-3-[0-9a-f]{16}\.ndjson\.gz$`, []string{"er/../1\n", "er-2", "er-3"}},
		{`^er/a b/dt=2026-11-23/hour=00/er-4-er-5-[0-9a-f]{16}\.ndjson\.gz$`, []string{"er-4", "er-5"}},
	} {
		lines, err := objects[i].Lines()
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(want.key).MatchString(objects[i].Key) || !slices.Equal(idsOf(t, lines), want.ids) {
			t.Errorf("object %q holds %q, want %s with %q", objects[i].Key, idsOf(t, lines), want.key, want.ids)
		}
		for name, value := range map[string]string{
			"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip", "If-None-Match": "*",
			"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "alias/soc",
		} {
			if got := objects[i].Header.Get(name); got != value {
				t.Errorf("%s: %q, want %q", name, got, value)
			}
		}
	}
}

// The answer is lost after the object was written: the repeat finds it and writes
// none beside it.
func TestS3RepeatAfterLostAnswer(t *testing.T) {
	for _, onlyNew := range []bool{true, false} {
		t.Run(fmt.Sprintf("only_new %t", onlyNew), func(t *testing.T) {
			sim, settings := newS3(t)
			settings.OnlyNew = onlyNew
			sim.Next(sinksim.Answer{After: true})
			first := closeAfter(t, openSIEM(t, "s3", settings))
			if err := first.Send(t.Context(), sinktest.Events(3)); sinktest.ClassOf(err) != sinktest.Transient {
				t.Fatalf("error %v, want a transient one", err)
			}
			again := closeAfter(t, openSIEM(t, "s3", settings)) // as after a restart
			if err := again.Send(t.Context(), sinktest.Events(3)); err != nil {
				t.Fatal(err)
			}
			if objects := sim.Objects(); len(objects) != 1 {
				t.Errorf("%d objects, want 1", len(objects))
			}
		})
	}
}

// The second of two hours fails: the first is delivered, and only the rest is sent
// again.
func TestS3TakesHoursOneByOne(t *testing.T) {
	sim, settings := newS3(t)
	s := closeAfter(t, openSIEM(t, "s3", settings))
	events := sinktest.Events(4)
	events[2].At = events[2].At.Add(time.Hour) // the third is of a later hour than the fourth
	failures := 1
	sim.OnPut = func(lines []string) (int, string) {
		if slices.Contains(idsOf(t, lines), "er-3") && failures > 0 {
			failures--
			return http.StatusServiceUnavailable, "SlowDown"
		}
		return 0, ""
	}
	err := s.Send(t.Context(), events)
	partial, ok := errors.AsType[*sinks.PartialError](err)
	if !ok || len(partial.Permanent) != 0 || len(partial.Transient) != 1 || partial.Transient[2] == nil {
		t.Fatalf("error %#v, want item 2 to try again", err)
	}
	if err := s.Send(t.Context(), events[2:3]); err != nil {
		t.Fatal(err)
	}
	if n := len(sim.Objects()); n != 2 {
		t.Errorf("%d objects, want 2", n)
	}
}

func TestS3Answers(t *testing.T) {
	xml := func(status int, code string) sinksim.Answer {
		return sinksim.Answer{Status: status, Body: "<Error><Code>" + code + "</Code></Error>"}
	}
	for _, tt := range []struct {
		name   string
		answer sinksim.Answer
		want   sinktest.Class
	}{
		{"slow down", xml(503, "SlowDown"), sinktest.Transient},
		{"internal", xml(500, "InternalError"), sinktest.Transient},
		{"request time-out with 400", xml(400, "RequestTimeout"), sinktest.Transient},
		{"damaged on the way", xml(400, "BadDigest"), sinktest.Transient},
		{"two writers of one key", xml(409, "ConditionalRequestConflict"), sinktest.Transient},
		{"access denied", xml(403, "AccessDenied"), sinktest.Config},
		{"no such bucket", xml(404, "NoSuchBucket"), sinktest.Config},
		{"other region", xml(400, "AuthorizationHeaderMalformed"), sinktest.Config},
		{"other region, moved", xml(301, "PermanentRedirect"), sinktest.Config},
		{"token expired", xml(400, "ExpiredToken"), sinktest.Config},
		{"no conditional writes", xml(501, "NotImplemented"), sinktest.Config},
		{"too large", xml(400, "EntityTooLarge"), sinktest.TooLarge},
		{"there already", xml(412, "PreconditionFailed"), sinktest.Delivered},
		{"no such encryption", xml(400, "InvalidRequest"), sinktest.Config},
		{"no such key of it", xml(400, "InvalidArgument"), sinktest.Config},
		{"key that is to be deleted", xml(400, "KMS.KMSInvalidStateException"), sinktest.Config},
		{"long prefix", xml(400, "KeyTooLongError"), sinktest.Config},
		{"other fault", xml(400, "UnexpectedContent"), sinktest.Permanent},
		{"a web page with 200", sinksim.Answer{Status: 200, Body: "<html>log in</html>"}, sinktest.Config},
		{"a TLS port", sinksim.Answer{Status: 400, Body: "Client sent an HTTP request to an HTTPS server."}, sinktest.Config},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sim, settings := newS3(t)
			sim.Next(tt.answer)
			s := closeAfter(t, openSIEM(t, "s3", settings))
			if err := s.Send(t.Context(), sinktest.Events(2)); sinktest.ClassOf(err) != tt.want {
				t.Errorf("class %s, want %s: %v", sinktest.ClassOf(err), tt.want, err)
			}
		})
	}
}

func TestS3WrongKeyIsRefused(t *testing.T) {
	sim, settings := newS3(t)
	settings.SecretKey = soar.SecretValue("an0ther-secret")
	s := closeAfter(t, openSIEM(t, "s3", settings))
	err := s.Send(t.Context(), sinktest.Events(1))
	if sinktest.ClassOf(err) != sinktest.Config || !strings.Contains(err.Error(), "SignatureDoesNotMatch") || strings.Contains(err.Error(), "an0ther-secret") {
		t.Errorf("error %v, want one about the signature, without the secret", err)
	}
	if len(sim.Objects()) != 0 {
		t.Error("an object was written")
	}
}

// Without a key in the settings the one in the environment is taken, with its token.
func TestS3KeyOfEnvironment(t *testing.T) {
	sim, settings := newS3(t)
	settings.AccessKey, settings.SecretKey = "", soar.Secret{}
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3Secret)
	t.Setenv("AWS_SESSION_TOKEN", "a-session")
	s := closeAfter(t, openSIEM(t, "s3", settings))
	if err := s.Send(t.Context(), sinktest.Events(1)); err != nil {
		t.Fatal(err)
	}
	if objects := sim.Objects(); len(objects) != 1 || objects[0].Header.Get("X-Amz-Security-Token") != "a-session" {
		t.Errorf("objects %+v, want one that was sent with the token", objects)
	}
}

// Without a key in settings and environment the role's is asked for.
func TestS3KeyOfRole(t *testing.T) {
	sim, settings := newS3(t)
	settings.AccessKey, settings.SecretKey = "", soar.Secret{}
	role := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"Code":"Success","AccessKeyId":"AKIDEXAMPLE","SecretAccessKey":%q,"Token":"of-the-role","Expiration":%q}`,
			s3Secret, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	defer role.Close()
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "")
	t.Setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "")
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "")
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", role.URL)
	s := closeAfter(t, openSIEM(t, "s3", settings))
	if err := s.Send(t.Context(), sinktest.Events(1)); err != nil {
		t.Fatal(err)
	}
	if objects := sim.Objects(); len(objects) != 1 || objects[0].Header.Get("X-Amz-Security-Token") != "of-the-role" {
		t.Errorf("objects %+v, want one that was sent with the role's token", objects)
	}
}

// A store of others takes the objects, and a client of others finds them there; a
// repeat writes none.
func TestS3IntoAnotherStore(t *testing.T) {
	backend := s3mem.New()
	if err := backend.CreateBucket("soc-archive"); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(gofakes3.New(backend).Server())
	defer srv.Close()
	s := closeAfter(t, openSIEM(t, "s3", s3Settings(srv.URL)))
	events := append(sinktest.Events(20), sinktest.Hostile())
	for range 2 {
		if err := s.Send(t.Context(), events); err != nil {
			t.Fatal(err)
		}
	}
	client, err := minio.New(strings.TrimPrefix(srv.URL, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4("AKIDEXAMPLE", s3Secret, ""), Region: "eu-central-1", BucketLookup: minio.BucketLookupPath,
	})
	if err != nil {
		t.Fatal(err)
	}
	var keys, ids []string
	for found := range client.ListObjects(t.Context(), "soc-archive", minio.ListObjectsOptions{Prefix: "er/a b/dt=2026-11-22/", Recursive: true}) {
		if found.Err != nil {
			t.Fatal(found.Err)
		}
		keys = append(keys, found.Key)
		object, err := client.GetObject(t.Context(), "soc-archive", found.Key, minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(object)
		if err != nil {
			t.Fatal(err)
		}
		if lines, err := (sinksim.S3Object{Body: body}).Lines(); err == nil {
			ids = append(ids, idsOf(t, lines)...)
		} else { // the client has undone the Content-Encoding
			ids = append(ids, idsOf(t, strings.Split(string(bytes.TrimSpace(body)), "\n"))...)
		}
	}
	var want []string
	for _, ev := range events {
		want = append(want, ev.ID)
	}
	if len(keys) != 1 || !slices.Equal(ids, want) {
		t.Errorf("objects %q with %q, want one with %q", keys, ids, want)
	}
}
