package sinksim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Teams is a workflow of Microsoft Teams that posts the cards it gets. It judges them
// strictly: what Teams would show as an empty card, or not at all, is refused here. It
// is an http.Handler.
type Teams struct {
	// Signature is the parameter sig of the workflow's address.
	Signature string

	answers answers

	mu    sync.Mutex
	cards []TeamsCard
}

// TeamsCard is a card that was taken.
type TeamsCard struct {
	ID    string   // of the element that has one
	Texts []string // of all text runs, in order
	Links []string // of all buttons
	Body  []byte
}

// Next queues answers for the next requests.
func (s *Teams) Next(next ...Answer) { s.answers.add(next...) }

// Cards are those that were taken, repeats included.
func (s *Teams) Cards() []TeamsCard {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.cards)
}

// ServeHTTP answers as Logic Apps do: 202 when the workflow has begun.
func (s *Teams) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.answers.give(w, false) {
		return
	}
	if r.URL.Query().Get("sig") != s.Signature {
		teamsRefuse(w, http.StatusUnauthorized, "DirectApiAuthorizationRequired", "The request must be authenticated: "+r.URL.String())
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 28<<10))
	if err != nil {
		teamsRefuse(w, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "The request is larger than 28 KB.")
		return
	}
	card, err := ReadTeamsCard(body)
	if err != nil {
		teamsRefuse(w, http.StatusBadRequest, "TriggerInputSchemaMismatch", err.Error())
		return
	}
	s.mu.Lock()
	s.cards = append(s.cards, card)
	s.mu.Unlock()
	if s.answers.give(w, true) {
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func teamsRefuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{"code": code, "message": message}})
}

// ReadTeamsCard reads a message with one Adaptive Card of version 1.4, as far as
// erbridge uses them. Text blocks are refused: Teams reads Markdown in them.
func ReadTeamsCard(body []byte) (card TeamsCard, err error) {
	var message struct {
		Type        string `json:"type"`
		Attachments []struct {
			ContentType string `json:"contentType"`
			ContentURL  any    `json:"contentUrl"`
			Content     struct {
				Schema  string            `json:"$schema"`
				Type    string            `json:"type"`
				Version string            `json:"version"`
				Body    []json.RawMessage `json:"body"`
				Actions []struct {
					Type  string `json:"type"`
					Title string `json:"title"`
					URL   string `json:"url"`
				} `json:"actions"`
				Teams map[string]string `json:"msteams"`
			} `json:"content"`
		} `json:"attachments"`
	}
	card.Body = body
	if err := exactly(body, &message); err != nil {
		return card, err
	}
	if message.Type != "message" || len(message.Attachments) != 1 || message.Attachments[0].ContentType != "application/vnd.microsoft.card.adaptive" {
		return card, errors.New("not a message with one adaptive card")
	}
	content := message.Attachments[0].Content
	if content.Type != "AdaptiveCard" || content.Version != "1.4" || len(content.Body) == 0 {
		return card, errors.New("not an adaptive card of version 1.4 with a body")
	}
	for _, element := range content.Body {
		if err := card.element(element, 0); err != nil {
			return card, err
		}
	}
	if len(content.Actions) > 6 {
		return card, fmt.Errorf("%d actions, Teams shows 6", len(content.Actions))
	}
	for _, action := range content.Actions {
		u, err := url.Parse(action.URL)
		if action.Type != "Action.OpenUrl" || action.Title == "" || err != nil || (u.Scheme != "https" && u.Scheme != "http") {
			return card, fmt.Errorf("action %+v", action)
		}
		card.Links = append(card.Links, action.URL)
	}
	return card, nil
}

func (c *TeamsCard) element(raw []byte, depth int) error {
	var e struct {
		Type    string            `json:"type"`
		ID      string            `json:"id"`
		Style   string            `json:"style"`
		Bleed   bool              `json:"bleed"`
		Spacing string            `json:"spacing"`
		Items   []json.RawMessage `json:"items"`
		Inlines []struct {
			Type     string `json:"type"`
			Text     string `json:"text"`
			Size     string `json:"size"`
			Weight   string `json:"weight"`
			FontType string `json:"fontType"`
			Subtle   bool   `json:"isSubtle"`
		} `json:"inlines"`
	}
	if err := exactly(raw, &e); err != nil {
		return err
	}
	among := func(value string, allowed string) error {
		if value != "" && !slices.Contains(strings.Fields(allowed), value) {
			return fmt.Errorf("%s: %q is none of %s", e.Type, value, allowed)
		}
		return nil
	}
	err := errors.Join(among(e.Style, "default emphasis good attention warning accent"), among(e.Spacing, "None Small Default Medium Large ExtraLarge Padding"))
	switch {
	case err != nil:
		return err
	case e.Type == "Container" && len(e.Items) > 0 && len(e.Inlines) == 0 && depth < 3:
		for _, item := range e.Items {
			if err := c.element(item, depth+1); err != nil {
				return err
			}
		}
	case e.Type == "RichTextBlock" && len(e.Inlines) > 0 && len(e.Items) == 0 && e.Style == "":
		for _, run := range e.Inlines {
			err := errors.Join(among(run.Size, "Small Default Medium Large ExtraLarge"), among(run.Weight, "Lighter Default Bolder"), among(run.FontType, "Default Monospace"))
			if err != nil || run.Type != "TextRun" || run.Text == "" {
				return fmt.Errorf("text run %+v: %w", run, errors.Join(err, errors.New("expected a TextRun with text")))
			}
			c.Texts = append(c.Texts, run.Text)
		}
	default:
		return fmt.Errorf("element of type %q", e.Type)
	}
	if e.ID != "" {
		c.ID = e.ID
	}
	return nil
}

// exactly decodes JSON without unknown names.
func exactly(data []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}
