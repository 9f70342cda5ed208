package redact

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
)

// named are attributes that others find things by; see docs of protectedPaths.
var namedAttributes = []string{"alert", "run", "step", "sink", "event", "first", "id", "playbook", "source"}

// Handler takes things out of what is logged before another handler writes it. text is
// asked for every text, so that it may change while erbridge runs. Ids stay.
func Handler(to slog.Handler, text func(string) string) slog.Handler { return &handler{to, text} }

type handler struct {
	slog.Handler
	text func(string) string
}

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, h.text(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(h.attr(a))
		return true
	})
	return h.Handler.Handle(ctx, clean)
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.Handler.WithAttrs(h.attrs(attrs)), h.text}
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.Handler.WithGroup(name), h.text}
}

func (h *handler) attrs(attrs []slog.Attr) []slog.Attr {
	out := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		out[i] = h.attr(a)
	}
	return out
}

func (h *handler) attr(a slog.Attr) slog.Attr {
	if slices.Contains(namedAttributes, a.Key) {
		return a
	}
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindString:
		return slog.String(a.Key, h.text(v.String()))
	case slog.KindGroup:
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(h.attrs(v.Group())...)}
	case slog.KindAny:
		text := fmt.Sprint(v.Any())
		if err, ok := v.Any().(error); ok {
			text = err.Error()
		}
		if clean := h.text(text); clean != text {
			return slog.String(a.Key, clean)
		}
	}
	return a
}
