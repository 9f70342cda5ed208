package sinks

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks/format"
)

// S3Settings configure a sink for an S3-compatible object store. Each batch
// becomes an object of gzipped lines of JSON (NDJSON) for each hour in it:
//
//	<prefix>dt=2026-11-22/hour=03/<first id>-<last id>-<hash of the lines>.ndjson.gz
//
// The hour is that of the events, in UTC. The same batch has the same key, so a
// repeat after a lost answer writes nothing twice.
type S3Settings struct {
	// Endpoint is the address of the store, such as
	// https://s3.eu-central-1.amazonaws.com.
	Endpoint string `yaml:"endpoint" required:"true"`

	// Bucket is the bucket to write to. It must exist.
	Bucket string `yaml:"bucket" required:"true"`

	// Prefix is what the keys of all objects begin with, such as er/prod.
	Prefix string `yaml:"prefix"`

	// Region is the region of the bucket. Stores other than Amazon's mostly take
	// the default.
	Region string `yaml:"region"`

	// AccessKey is the id of the access key. Without it erbridge takes
	// AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY from the environment, or else the
	// role of the machine, the container or the pod that it runs in.
	AccessKey string `yaml:"access_key"`

	// SecretKey is the secret of access_key.
	SecretKey soar.Secret `yaml:"secret_key"`

	// PathStyle puts the bucket into the path of the address and not in front of
	// its host. Most stores other than Amazon's need it.
	PathStyle bool `yaml:"path_style"`

	// Format is how an event is written: json (the event as playbooks see it), ecs
	// or ocsf.
	Format string `yaml:"format" enum:"json,ecs,ocsf"`

	// ServerSideEncryption asks the store to encrypt the objects: AES256 or
	// aws:kms. Empty leaves it to the bucket.
	ServerSideEncryption string `yaml:"server_side_encryption" enum:"AES256,aws:kms"`

	// KMSKey is the id of the key for aws:kms. Empty means the account's own.
	KMSKey string `yaml:"kms_key"`

	// OnlyNew asks the store to write an object only if there is none with its key
	// (If-None-Match). Switch it off for stores that do not know that; a repeat then
	// writes the same content over itself.
	OnlyNew bool `yaml:"only_new"`

	// Timeout bounds one request, the connection included.
	Timeout time.Duration `yaml:"timeout"`

	TLSSettings `yaml:",inline"`
}

func init() {
	Types.Add("s3", Type{
		Summary:  "Objects of gzipped NDJSON in an S3-compatible store, by hour",
		Settings: &S3Settings{Region: "us-east-1", Format: "json", OnlyNew: true, Timeout: time.Minute},
		Example: `type: s3
endpoint: https://s3.eu-central-1.amazonaws.com
region: eu-central-1
bucket: soc-archive
prefix: endpoint-response
format: ocsf
`,
		MaxBatch: 5000, MaxBatchBytes: 16 << 20, MaxBatchAge: time.Minute,
		Open: func(_ string, settings any, env Env) (Sink, error) {
			return openS3(*settings.(*S3Settings), env)
		},
	})
}

// s3Bucket is a name that a bucket can have (Amazon S3, "General purpose bucket
// naming rules").
var s3Bucket = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// Check implements Checker.
func (s *S3Settings) Check(report func(setting, hint, format string, args ...any)) {
	if u, err := parseURL(s.Endpoint); err != nil {
		report("endpoint", "", "%s", strings.TrimPrefix(err.Error(), "url: "))
	} else if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		report("endpoint", "", "no path here, bucket and prefix have settings of their own")
	} else if net.ParseIP(u.Hostname()) != nil && !s.PathStyle {
		report("endpoint path_style", "set path_style: true", "the bucket cannot be put in front of an IP address")
	}
	if !s3Bucket.MatchString(s.Bucket) {
		report("bucket", "", "expected 3 to 63 lower-case letters, digits, dots and dashes, found %q", s.Bucket)
	}
	if s.Region == "" {
		report("region", "", "expected the name of a region; us-east-1 where the store has none")
	}
	if (s.AccessKey == "") != !s.SecretKey.IsSet() {
		report("access_key secret_key", "", "access_key and secret_key go together")
	}
	if s.KMSKey != "" && s.ServerSideEncryption != "aws:kms" {
		report("kms_key server_side_encryption", "set server_side_encryption: aws:kms", "a key is of use with aws:kms only")
	}
	checkTimeout(s.Timeout, report)
}

type s3 struct {
	settings S3Settings
	format   format.Formatter
	client   *http.Client
	bucket   url.URL // its path ends in /
	prefix   string  // empty, or ends in /
	agent    string
	now      func() time.Time
	role     *credentials.Credentials // nil with an access key in the settings
}

func openS3(s S3Settings, env Env) (*s3, error) {
	var mistakes []error
	s.Check(func(setting, _, format string, args ...any) {
		mistakes = append(mistakes, fmt.Errorf("%w: %s: %s", ErrConfig, setting, fmt.Sprintf(format, args...)))
	})
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	formatter, err := format.New(s.Format, format.Options{Version: env.Version})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	client, err := newHTTPClient(s.TLSSettings, s.Timeout)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	u, err := parseURL(s.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	u.Path = "/"
	if s.PathStyle {
		u.Path += s.Bucket + "/"
	} else {
		u.Host = s.Bucket + "." + u.Host
	}
	prefix := strings.Trim(s.Prefix, "/")
	if prefix != "" {
		prefix += "/"
	}
	now := env.Now
	if now == nil {
		now = time.Now
	}
	sink := &s3{settings: s, format: formatter, client: client, bucket: *u, prefix: prefix, agent: userAgent(env), now: now}
	if s.AccessKey == "" {
		sink.role = s3Role()
	}
	return sink, nil
}

// s3Object is what the events of one hour become.
type s3Object struct {
	items []int // their indexes in the batch
	key   string
	body  []byte
}

// Send writes one object for each hour of the batch. A batch that becomes several
// objects can be taken in part, in the order of the hours.
func (s *s3) Send(ctx context.Context, events []soar.Event) error {
	partial := &PartialError{Permanent: map[int]error{}, Transient: map[int]error{}}
	objects, err := s.pack(events, partial.Permanent)
	if err != nil {
		return fmt.Errorf("s3: %w", err)
	}
	for i, o := range objects {
		err := s.put(ctx, o)
		if err == nil {
			continue
		}
		err = fmt.Errorf("s3: %w", err)
		if i == 0 && len(partial.Permanent) == 0 {
			return err
		}
		for _, rest := range objects[i:] {
			for _, item := range rest.items {
				partial.Transient[item] = err
			}
		}
		break
	}
	return partial.verdict(len(events))
}

// pack makes the objects. Events that the format has no words for go into refused.
func (s *s3) pack(events []soar.Event, refused map[int]error) ([]s3Object, error) {
	var objects []s3Object
	lines := map[string]*bytes.Buffer{}
	place := map[string]int{} // in objects
	for i := range events {
		line, err := s.format(&events[i])
		if err == nil && bytes.ContainsRune(line, '\n') {
			err = errors.New("the format wrote more than one line")
		}
		if err != nil {
			refused[i] = fmt.Errorf("s3: %w: %w", ErrPermanent, err)
			continue
		}
		hour := s3Hour(events[i].At)
		if _, known := place[hour]; !known {
			place[hour] = len(objects)
			objects = append(objects, s3Object{key: hour})
			lines[hour] = &bytes.Buffer{}
		}
		o := &objects[place[hour]]
		o.items = append(o.items, i)
		lines[hour].Write(line)
		lines[hour].WriteByte('\n')
	}
	for i := range objects {
		o := &objects[i]
		content := lines[o.key].Bytes()
		// Of the lines and not of the gzip, which another release of Go may write
		// in another way.
		hash := sha256.Sum256(content)
		o.key = fmt.Sprintf("%s%s/%s-%s-%s.ndjson.gz", s.prefix, o.key,
			s3Name(events[o.items[0]].ID), s3Name(events[o.items[len(o.items)-1]].ID), hex.EncodeToString(hash[:8]))
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed) // writes no time unless told to
		_, err := w.Write(content)
		if err = errors.Join(err, w.Close()); err != nil {
			return nil, fmt.Errorf("compress: %w", err)
		}
		o.body = packed.Bytes()
	}
	return objects, nil
}

// s3Hour is the partition of a time, as Hive, Athena and Spark read it.
func s3Hour(at time.Time) string {
	if year := at.Year(); year < 1970 || year > 9999 {
		at = time.Unix(0, 0)
	}
	return at.UTC().Format("dt=2006-01-02/hour=15")
}

// s3Name is an id as a key can hold it in any store. Ids come from outside.
func s3Name(id string) string {
	const limit = 64
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '_'
	}, id)
	return cmp.Or(name[:min(len(name), limit)], "_")
}

// Close drops idle connections.
func (s *s3) Close() error {
	s.client.CloseIdleConnections()
	return nil
}
