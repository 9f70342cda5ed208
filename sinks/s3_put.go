package sinks

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"
	"github.com/minio/minio-go/v7/pkg/signer"
)

// put writes an object (Amazon S3 API, PutObject). An object that is there
// already is the same one, from an attempt of which the answer was lost.
func (s *s3) put(ctx context.Context, o s3Object) error {
	login, err := s.login(ctx)
	if err != nil {
		return err
	}
	target := s.bucket
	target.Path += o.key
	target.RawPath = s3utils.EncodePath(target.Path) // as it is signed
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, target.String(), bytes.NewReader(o.body))
	if err != nil {
		return fmt.Errorf("%w: endpoint cannot be read as a URL", ErrConfig)
	}
	sum := sha256.Sum256(o.body)
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set("Content-Encoding", "gzip")
	req.Header.Set("User-Agent", s.agent)
	req.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
	// Buckets with object lock ask for a checksum that is kept with the object.
	req.Header.Set("X-Amz-Checksum-Sha256", base64.StdEncoding.EncodeToString(sum[:]))
	if s.settings.OnlyNew {
		req.Header.Set("If-None-Match", "*")
	}
	if kind := s.settings.ServerSideEncryption; kind != "" {
		req.Header.Set("X-Amz-Server-Side-Encryption", kind)
	}
	if key := s.settings.KMSKey; key != "" {
		req.Header.Set("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", key)
	}
	req = signer.SignV4(*req, login.AccessKeyID, login.SecretAccessKey, login.SessionToken, s.settings.Region)
	r, err := exchange(s.client, req, maxReplyBytes, login.SecretAccessKey, login.SessionToken)
	if err != nil {
		return err
	}
	return s.judge(r)
}

// The codes of Amazon S3, "Error responses", that say another thing than their
// status. Other stores use the same.
var (
	s3Passing = []string{"RequestTimeout", "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch", "ConditionalRequestConflict", "OperationAborted"}
	s3Setup   = []string{
		"ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "AuthorizationHeaderMalformed", "InvalidBucketName", "InvalidRegionName",
		"IllegalLocationConstraintException", "NotImplemented", "KeyTooLongError", "InvalidEncryptionAlgorithmError",
		// An object is opaque to the store. What it finds wrong with a request, such as
		// an encryption that it does not offer, it finds wrong with the next one too.
		"InvalidRequest", "InvalidArgument",
	}
	s3TooLarge = []string{"EntityTooLarge", "MaxMessageLengthExceeded"}
)

func (s *s3) judge(r reply) error {
	switch {
	case r.Status == http.StatusPreconditionFailed && s.settings.OnlyNew:
		return nil
	case r.Status >= 200 && r.Status < 300 && r.Header.Get("Etag") == "":
		return fmt.Errorf("%w: this is not an object store: it names no ETag", r.errorf(ErrConfig))
	case r.wrongPort() && !bytes.Contains(r.Body, []byte("<Error>")):
		return fmt.Errorf("%w: does the port want https?", r.errorf(ErrConfig))
	}
	var answer struct {
		Code string `xml:"Code"`
	}
	_ = xml.Unmarshal(r.Body, &answer) // without a code the status decides
	switch code := answer.Code; {
	case r.Status < 300 || code == "":
	case code == "NotImplemented" && s.settings.OnlyNew:
		return fmt.Errorf("%w: only_new: false may help", r.errorf(ErrConfig))
	case slices.Contains(s3Passing, code):
		return r.errorf(nil)
	case slices.Contains(s3Setup, code), strings.HasPrefix(code, "KMS."):
		return r.errorf(ErrConfig)
	case slices.Contains(s3TooLarge, code):
		return r.errorf(ErrTooLarge)
	}
	if r.Status == http.StatusConflict { // another writer of the same key is at work
		return r.errorf(nil)
	}
	return r.judge(s.now())
}

// login is the key to sign with. That of the settings is read for each request,
// so that a rotated file is seen; that of a role is asked for again when it expires.
func (s *s3) login(ctx context.Context) (credentials.Value, error) {
	if s.role == nil {
		secret, err := s.settings.SecretKey.Reveal()
		if err != nil {
			return credentials.Value{}, fmt.Errorf("%w: secret_key: %w", ErrConfig, err)
		}
		return credentials.Value{AccessKeyID: s.settings.AccessKey, SecretAccessKey: secret}, nil
	}
	login, err := s.role.GetWithContext(&credentials.CredContext{Client: s.client, Context: ctx})
	if err != nil {
		return login, fmt.Errorf("ask for the credentials of this machine's role, because access_key is not set: %w", err)
	}
	if login.AccessKeyID == "" || login.SecretAccessKey == "" {
		return login, errors.New("this machine's role has no credentials, and access_key is not set")
	}
	return login, nil
}

// s3Role takes the key from the environment, or from where Amazon keeps that of a
// machine, a container or a pod.
func s3Role() *credentials.Credentials {
	if os.Getenv("AWS_ACCESS_KEY_ID") != "" {
		return credentials.NewEnvAWS()
	}
	return credentials.NewIAM("")
}
