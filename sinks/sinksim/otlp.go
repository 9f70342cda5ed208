package sinksim

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// OTLP is a receiver of OpenTelemetry logs over HTTP. It is an http.Handler.
type OTLP struct {
	// Header is what requests must have, as name to value; nil asks for nothing.
	Header map[string]string
	// MaxBytes bounds a request after decompression; 0 is 20 MiB, as in the
	// OpenTelemetry Collector.
	MaxBytes int
	// OnRecord, if set, decides about each record; a reason rejects it, and the answer
	// says how many were rejected, but not which.
	OnRecord func(OTLPRecord) (reason string)

	answers answers

	mu      sync.Mutex
	records []OTLPRecord
}

// OTLPRecord is a record that was taken.
type OTLPRecord struct {
	*logspb.LogRecord
	// Attributes, Resource and ScopeName are what belongs to it, texts and numbers as
	// such.
	Attributes, Resource map[string]any
	ScopeName            string
}

// Next queues answers for the next requests.
func (s *OTLP) Next(next ...Answer) { s.answers.add(next...) }

// Records are all records taken so far, repeats included.
func (s *OTLP) Records() []OTLPRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.records)
}

// ServeHTTP answers as the OTLP specification 1.7 has it ("OTLP/HTTP Response").
func (s *OTLP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.answers.give(w, false) {
		return
	}
	if r.URL.Path != "/v1/logs" {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodPost {
		http.Error(w, "405 method not allowed, supported: [POST]", http.StatusMethodNotAllowed)
		return
	}
	for name, value := range s.Header {
		if r.Header.Get(name) != value {
			otlpRefuse(w, http.StatusUnauthorized, 16, "no credentials for "+name)
			return
		}
	}
	if r.Header.Get("Content-Type") != "application/x-protobuf" {
		http.Error(w, "415 unsupported media type, supported: [application/json, application/x-protobuf]", http.StatusUnsupportedMediaType)
		return
	}
	limit := s.MaxBytes
	if limit == 0 {
		limit = 20 << 20
	}
	body, err := readBody(r, limit)
	if errors.Is(err, errTooMuch) {
		otlpRefuse(w, http.StatusRequestEntityTooLarge, 8, "request body too large")
		return
	}
	var request logspb.LogsData
	if err == nil {
		err = proto.Unmarshal(body, &request)
	}
	var all []OTLPRecord
	if err == nil {
		all, err = readOTLP(&request)
	}
	if err != nil {
		otlpRefuse(w, http.StatusBadRequest, 3, err.Error())
		return
	}
	var reasons []string
	s.mu.Lock()
	for _, record := range all {
		if s.OnRecord != nil {
			if reason := s.OnRecord(record); reason != "" {
				reasons = append(reasons, reason)
				continue
			}
		}
		s.records = append(s.records, record)
	}
	s.mu.Unlock()
	if s.answers.give(w, true) {
		return
	}
	var answer []byte // ExportLogsServiceResponse
	if len(reasons) > 0 {
		partial := protowire.AppendTag(nil, 1, protowire.VarintType)
		partial = protowire.AppendVarint(partial, uint64(len(reasons)))
		partial = protowire.AppendTag(partial, 2, protowire.BytesType)
		partial = protowire.AppendString(partial, reasons[0])
		answer = protowire.AppendTag(answer, 1, protowire.BytesType)
		answer = protowire.AppendBytes(answer, partial)
	}
	send(w, http.StatusOK, http.Header{"Content-Type": {"application/x-protobuf"}}, string(answer))
}

// readOTLP checks what the data model asks for (OpenTelemetry, "Logs Data Model"):
// every record has a body or a time, names of attributes are there and are unique.
func readOTLP(request *logspb.LogsData) ([]OTLPRecord, error) {
	var all []OTLPRecord
	for _, resource := range request.ResourceLogs {
		of, err := otlpAttributes(resource.GetResource().GetAttributes())
		if err != nil {
			return nil, fmt.Errorf("resource: %w", err)
		}
		for _, scope := range resource.ScopeLogs {
			for _, record := range scope.LogRecords {
				attributes, err := otlpAttributes(record.Attributes)
				if err != nil {
					return nil, err
				}
				if number := record.SeverityNumber; number < 0 || number > 24 {
					return nil, fmt.Errorf("severity number %d", number)
				}
				if record.Body == nil && record.TimeUnixNano == 0 {
					return nil, errors.New("a record without body and time")
				}
				all = append(all, OTLPRecord{LogRecord: record, Attributes: attributes, Resource: of, ScopeName: scope.GetScope().GetName()})
			}
		}
	}
	return all, nil
}

func otlpAttributes(list []*commonpb.KeyValue) (map[string]any, error) {
	attributes := map[string]any{}
	for _, a := range list {
		if _, twice := attributes[a.Key]; twice || a.Key == "" {
			return nil, fmt.Errorf("attribute %q is there twice or has no name", a.Key)
		}
		attributes[a.Key] = otlpPlain(a.Value)
	}
	return attributes, nil
}

func otlpPlain(v *commonpb.AnyValue) any {
	switch v := v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		return v.StringValue
	case *commonpb.AnyValue_IntValue:
		return v.IntValue
	case *commonpb.AnyValue_DoubleValue:
		return v.DoubleValue
	case *commonpb.AnyValue_BoolValue:
		return v.BoolValue
	case *commonpb.AnyValue_ArrayValue:
		var list []any
		for _, item := range v.ArrayValue.GetValues() {
			list = append(list, otlpPlain(item))
		}
		return list
	case *commonpb.AnyValue_KvlistValue:
		object := map[string]any{}
		for _, item := range v.KvlistValue.GetValues() {
			object[item.Key] = otlpPlain(item.Value)
		}
		return object
	}
	return nil
}

// otlpRefuse answers with google.rpc.Status.
func otlpRefuse(w http.ResponseWriter, status int, code uint64, text string) {
	body := protowire.AppendTag(nil, 1, protowire.VarintType)
	body = protowire.AppendVarint(body, code)
	body = protowire.AppendTag(body, 2, protowire.BytesType)
	body = protowire.AppendString(body, strings.ToValidUTF8(text, "?"))
	send(w, status, http.Header{"Content-Type": {"application/x-protobuf"}}, string(body))
}
