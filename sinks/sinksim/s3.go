package sinksim

import (
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// S3 is a bucket that takes PutObject, with its name in the path. It verifies the
// signature of each request by itself. It is an http.Handler.
type S3 struct {
	// Bucket, Region, AccessKey and SecretKey are what requests must have.
	Bucket, Region, AccessKey, SecretKey string
	// MaxBytes bounds an object; 0 is 5 GiB, as for one PutObject.
	MaxBytes int64
	// OnPut, if set, is asked about the lines of each object before it is taken, and
	// may refuse it with a status and a code.
	OnPut func(lines []string) (status int, code string)

	answers answers

	mu      sync.Mutex
	objects []S3Object
}

// S3Object is an object that was written.
type S3Object struct {
	Key    string
	Header http.Header
	Body   []byte
}

// Lines are what is in a gzipped object of lines.
func (o S3Object) Lines() ([]string, error) { return gzipLines(o.Body) }

func gzipLines(packed []byte) ([]string, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	text, ended := strings.CutSuffix(string(plain), "\n")
	if !ended {
		return nil, fmt.Errorf("the last line does not end")
	}
	return strings.Split(text, "\n"), nil
}

// Next queues answers for the next requests.
func (s *S3) Next(next ...Answer) { s.answers.add(next...) }

// Objects are those in the bucket, in the order in which they were written.
func (s *S3) Objects() []S3Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.objects)
}

// ServeHTTP answers as Amazon S3 does (API reference, "PutObject" and "Error
// responses").
func (s *S3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.answers.give(w, false) {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s3Refuse(w, http.StatusBadRequest, "IncompleteBody")
		return
	}
	if status, code := s.check(r, body); status != 0 {
		s3Refuse(w, status, code)
		return
	}
	key := strings.TrimPrefix(r.URL.Path, "/"+s.Bucket+"/")
	if s.OnPut != nil {
		lines, err := gzipLines(body)
		if err != nil {
			s3Refuse(w, http.StatusBadRequest, "InvalidRequest")
			return
		}
		if status, code := s.OnPut(lines); status != 0 {
			s3Refuse(w, status, code)
			return
		}
	}
	s.mu.Lock()
	i := slices.IndexFunc(s.objects, func(o S3Object) bool { return o.Key == key })
	object := S3Object{Key: key, Header: r.Header.Clone(), Body: body}
	switch {
	case i >= 0 && r.Header.Get("If-None-Match") == "*":
		s.mu.Unlock()
		s3Refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	case i >= 0:
		s.objects[i] = object
	default:
		s.objects = append(s.objects, object)
	}
	s.mu.Unlock()
	if s.answers.give(w, true) {
		return
	}
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(body)))
	w.WriteHeader(http.StatusOK)
}

// check says what is wrong with a request; a status of 0 is nothing.
func (s *S3) check(r *http.Request, body []byte) (status int, code string) {
	sum := sha256.Sum256(body)
	limit := s.MaxBytes
	if limit == 0 {
		limit = 5 << 30
	}
	kind := r.Header.Get("X-Amz-Server-Side-Encryption")
	switch signed := s.signature(r); {
	case r.Header.Get("Authorization") == "":
		return http.StatusForbidden, "AccessDenied"
	case signed != "":
		return http.StatusForbidden, signed
	case r.Header.Get("X-Amz-Content-Sha256") != hex.EncodeToString(sum[:]):
		return http.StatusBadRequest, "XAmzContentSHA256Mismatch"
	case !strings.HasPrefix(r.URL.Path, "/"+s.Bucket+"/"):
		return http.StatusNotFound, "NoSuchBucket"
	case r.Method != http.MethodPut:
		return http.StatusMethodNotAllowed, "MethodNotAllowed"
	case len(r.URL.Path)-len("/"+s.Bucket+"/") > 1024:
		return http.StatusBadRequest, "KeyTooLongError"
	case int64(len(body)) > limit:
		return http.StatusBadRequest, "EntityTooLarge"
	case r.Header.Get("X-Amz-Checksum-Sha256") != "" && r.Header.Get("X-Amz-Checksum-Sha256") != base64.StdEncoding.EncodeToString(sum[:]):
		return http.StatusBadRequest, "BadDigest"
	case kind != "" && kind != "AES256" && kind != "aws:kms":
		return http.StatusBadRequest, "InvalidArgument"
	case r.Header.Get("If-None-Match") != "" && r.Header.Get("If-None-Match") != "*":
		return http.StatusNotImplemented, "NotImplemented"
	}
	return 0, ""
}

var s3Authorization = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([^/,]+)/(\d{8})/([^/,]+)/s3/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})$`)

// signature verifies AWS Signature Version 4 (Amazon S3 API, "Authenticating
// requests: using the Authorization header") and returns the code of what is wrong.
func (s *S3) signature(r *http.Request) (code string) {
	m := s3Authorization.FindStringSubmatch(r.Header.Get("Authorization"))
	if m == nil {
		return "AuthorizationHeaderMalformed"
	}
	key, day, region, names, given := m[1], m[2], m[3], strings.Split(m[4], ";"), m[5]
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || at.Format("20060102") != day {
		return "AccessDenied"
	}
	if age := time.Since(at); age > 15*time.Minute || age < -15*time.Minute {
		return "RequestTimeTooSkewed"
	}
	if key != s.AccessKey {
		return "InvalidAccessKeyId"
	}
	if region != s.Region {
		return "AuthorizationHeaderMalformed"
	}
	// Host and all of x-amz-* must be signed.
	for name := range r.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-amz-") && !slices.Contains(names, name) {
			return "AccessDenied"
		}
	}
	if !slices.Contains(names, "host") || !slices.IsSorted(names) {
		return "AccessDenied"
	}
	var headers strings.Builder
	for _, name := range names {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = fmt.Sprint(r.ContentLength)
		}
		headers.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
	}
	canonical := strings.Join([]string{r.Method, s3Escape(r.URL.Path), r.URL.Query().Encode(), headers.String(), strings.Join(names, ";"),
		r.Header.Get("X-Amz-Content-Sha256")}, "\n")
	sum := sha256.Sum256([]byte(canonical))
	scope := day + "/" + region + "/s3/aws4_request"
	sign := func(key []byte, text string) []byte {
		mac := hmac.New(sha256.New, key)
		_, _ = mac.Write([]byte(text)) // a hash takes everything
		return mac.Sum(nil)
	}
	secret := []byte("AWS4" + s.SecretKey)
	for _, part := range strings.Split(scope, "/") {
		secret = sign(secret, part)
	}
	want := sign(secret, "AWS4-HMAC-SHA256\n"+r.Header.Get("X-Amz-Date")+"\n"+scope+"\n"+hex.EncodeToString(sum[:]))
	if !hmac.Equal([]byte(given), []byte(hex.EncodeToString(want))) {
		return "SignatureDoesNotMatch"
	}
	return ""
}

// s3Escape escapes all but unreserved characters and slashes.
func s3Escape(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		parts[i] = strings.ReplaceAll(url.QueryEscape(part), "+", "%20")
	}
	return strings.Join(parts, "/")
}

func s3Refuse(w http.ResponseWriter, status int, code string) {
	var text bytes.Buffer
	_ = xml.EscapeText(&text, []byte(code)) // a buffer takes everything
	send(w, status, http.Header{"Content-Type": {"application/xml"}},
		`<?xml version="1.0" encoding="UTF-8"?><Error><Code>`+text.String()+`</Code><Message>refused</Message></Error>`)
}
