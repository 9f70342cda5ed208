package sinks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"slices"
	"strconv"
	"strings"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks/format"
)

const otlpType = "application/x-protobuf"

// encode makes the request: LogsData has the form of ExportLogsServiceRequest on
// the wire (opentelemetry-proto, logs.proto), whose own package brings all of gRPC.
func (s *otlp) encode(events []soar.Event) ([]byte, error) {
	scope := &logspb.ScopeLogs{Scope: &commonpb.InstrumentationScope{Name: "github.com/erbridge/erbridge/sinks", Version: s.version}}
	for i := range events {
		record, err := otlpRecord(&events[i])
		if err != nil {
			return nil, fmt.Errorf("%w: event %s: %w", ErrPermanent, events[i].ID, err)
		}
		scope.LogRecords = append(scope.LogRecords, record)
	}
	return proto.Marshal(&logspb.LogsData{ResourceLogs: []*logspb.ResourceLogs{{Resource: s.resource, ScopeLogs: []*logspb.ScopeLogs{scope}}}})
}

// otlpSeverities are in the middle of OpenTelemetry's ranges where there is a
// choice (logs data model, "Mapping of SeverityNumber").
var otlpSeverities = map[soar.Severity]logspb.SeverityNumber{
	soar.SeverityInfo: logspb.SeverityNumber_SEVERITY_NUMBER_INFO, soar.SeverityLow: logspb.SeverityNumber_SEVERITY_NUMBER_INFO2,
	soar.SeverityMedium: logspb.SeverityNumber_SEVERITY_NUMBER_WARN, soar.SeverityHigh: logspb.SeverityNumber_SEVERITY_NUMBER_ERROR,
	soar.SeverityCritical: logspb.SeverityNumber_SEVERITY_NUMBER_FATAL,
}

// otlpRecord is one event. Its attributes are the fields of its ECS document by
// their full names, such as host.name and process.pid.
func otlpRecord(ev *soar.Event) (*logspb.LogRecord, error) {
	decoder := json.NewDecoder(bytes.NewReader(format.ECS(ev, format.ECSOptions{})))
	decoder.UseNumber()
	var doc map[string]any
	if err := decoder.Decode(&doc); err != nil {
		return nil, err
	}
	// These have fields of their own in a record.
	delete(doc, "message")
	delete(doc, "@timestamp")
	severity := format.SeverityOf(ev)
	r := &logspb.LogRecord{
		TimeUnixNano:         unixNano(eventTime(ev)),
		ObservedTimeUnixNano: unixNano(ev.At),
		SeverityNumber:       otlpSeverities[severity],
		SeverityText:         string(severity),
		// er.alert, er.outcome and er.connector have different attributes.
		EventName:  "er." + strings.TrimPrefix(format.ECSDataset(ev), "eclecticiq_er."),
		Body:       &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: format.Summary(ev)}},
		Attributes: []*commonpb.KeyValue{otlpText("log.record.uid", strings.ToValidUTF8(ev.ID, "\uFFFD"))},
	}
	if ev.Alert != nil && ev.Alert.SeverityText != "" {
		r.SeverityText = strings.ToValidUTF8(ev.Alert.SeverityText, "\uFFFD")
	}
	r.Attributes = appendOTLP(r.Attributes, "", doc)
	return r, nil
}

// appendOTLP adds the values of an object under their full names, in order.
func appendOTLP(to []*commonpb.KeyValue, prefix string, object map[string]any) []*commonpb.KeyValue {
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if inner, ok := object[key].(map[string]any); ok {
			to = appendOTLP(to, prefix+key+".", inner)
			continue
		}
		to = append(to, &commonpb.KeyValue{Key: prefix + key, Value: otlpValue(object[key])})
	}
	return to
}

func otlpText(name, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: name, Value: otlpValue(value)}
}

// otlpValue is a value of JSON, which is valid UTF-8, as protocol buffers ask.
func otlpValue(v any) *commonpb.AnyValue {
	switch v := v.(type) {
	case string:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: v}}
	case bool:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: v}}
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: n}}
		}
		f, err := v.Float64()
		if err != nil {
			return otlpValue(v.String())
		}
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: f}}
	case []any:
		list := &commonpb.ArrayValue{}
		for _, item := range v {
			list.Values = append(list.Values, otlpValue(item))
		}
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: list}}
	case map[string]any:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_KvlistValue{KvlistValue: &commonpb.KeyValueList{Values: appendOTLP(nil, "", v)}}}
	}
	return &commonpb.AnyValue{} // null
}

// eventTime is when it happened: on the host for an alert and for a row of
// telemetry, else when erbridge did it.
func eventTime(ev *soar.Event) time.Time {
	at := ev.At
	switch {
	case ev.Row != nil:
		at = ev.Row.At
	case ev.Alert != nil && (ev.Type == soar.EventAlertReceived || ev.Type == soar.EventAlertUpdated):
		at = ev.Alert.EventTime
		if unixNano(at) == 0 {
			at = ev.Alert.CreatedAt
		}
	}
	if unixNano(at) == 0 {
		return ev.At
	}
	return at
}

// unixNano is 0, which stands for unknown, for times that it cannot hold.
func unixNano(at time.Time) uint64 {
	if year := at.Year(); year < 1970 || year > 2261 {
		return 0
	}
	return uint64(max(at.UnixNano(), 0))
}

// otlpPartial reads ExportLogsServiceResponse: how many records were rejected, and
// what the receiver has to say. An empty body is one without either.
func otlpPartial(r reply) (rejected int64, text string, err error) {
	if len(r.Body) == 0 {
		return 0, "", nil
	}
	switch kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind {
	case "application/json":
		var answer struct {
			PartialSuccess struct {
				Rejected json.RawMessage `json:"rejectedLogRecords"` // a number or, as int64 should be, a text
				Text     string          `json:"errorMessage"`
			} `json:"partialSuccess"`
		}
		if err := json.Unmarshal(r.Body, &answer); err != nil {
			return 0, "", err
		}
		if number := strings.Trim(string(answer.PartialSuccess.Rejected), `"`); number != "" {
			rejected, err = strconv.ParseInt(number, 10, 64)
		}
		return rejected, answer.PartialSuccess.Text, err
	case otlpType, "":
	default:
		return 0, "", fmt.Errorf("an answer of type %q", kind)
	}
	err = protoFields(r.Body, func(number protowire.Number, _ uint64, partial []byte) error {
		if number != 1 { // partial_success
			return nil
		}
		return protoFields(partial, func(number protowire.Number, varint uint64, raw []byte) error {
			switch number {
			case 1: // rejected_log_records
				rejected = int64(varint) //nolint:gosec // an int64 on the wire
			case 2: // error_message
				text = string(raw)
			}
			return nil
		})
	})
	return rejected, text, err
}

// otlpStatusText is the message of google.rpc.Status, which a refusal has as its
// body; empty for another body.
func otlpStatusText(r reply) (text string) {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != otlpType {
		return ""
	}
	err := protoFields(r.Body, func(number protowire.Number, _ uint64, raw []byte) error {
		if number == 2 {
			text = string(raw)
		}
		return nil
	})
	if err != nil {
		return ""
	}
	return text
}

// protoFields calls field for each field of a message of protocol buffers: with the
// value of a varint, or with the bytes of what has a length.
func protoFields(message []byte, field func(number protowire.Number, varint uint64, raw []byte) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return errors.New("no protocol buffers")
		}
		message = message[n:]
		var varint uint64
		var raw []byte
		switch kind {
		case protowire.VarintType:
			varint, n = protowire.ConsumeVarint(message)
		case protowire.BytesType:
			raw, n = protowire.ConsumeBytes(message)
		default:
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return errors.New("no protocol buffers")
		}
		message = message[n:]
		if err := field(number, varint, raw); err != nil {
			return err
		}
	}
	return nil
}
