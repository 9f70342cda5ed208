package cacao

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// action converts an action step: by our extension when it has one, HTTP requests as
// such, and all else as a note that tells a person what to do.
func (c *converter) action(id string, step *Step, s surroundings) []any {
	if ours := c.ours(id, step, "step"); text(ours["do"]) != "" {
		if name := text(ours["enrich"]); name != "" {
			delete(ours, "enrich")
			c.enrich[name] = ours
			c.note(id, Converted, "enrich %s", shorten(name, 80))
			return nil
		}
		c.failing(id, step, ours, s)
		c.note(id, Converted, "%s", shorten(text(ours["do"]), 80))
		return c.emit(ours, s)
	}
	if len(step.OutArgs) > 0 {
		c.note(id, NotConverted, "out_args: later steps find what a step yields under .steps.<id>.output")
	}
	if len(step.Commands) == 0 {
		c.note(id, NotConverted, "it has no commands")
		return nil
	}
	var steps []any
	for _, command := range step.Commands {
		out := c.command(id, step, command)
		if step.Timeout > 0 && step.Timeout <= 30*24*3600*1000 {
			out["timeout"] = duration(step.Timeout)
		}
		c.failing(id, step, out, s)
		steps = append(steps, c.emit(out, s)...)
	}
	return steps
}

func (c *converter) command(id string, step *Step, command Command) mapping {
	switch command.Type {
	case "http-api":
		if out := c.request(id, step, command); out != nil {
			return out
		}
	case "manual":
		c.note(id, Approximated, "a manual command: becomes a note on the alert")
	default:
		c.note(id, NotConverted, "a command of type %q: becomes a note on the alert, for a person to do", shorten(command.Type, 40))
	}
	return c.todo(step, commandText(command))
}

// todo is a step that tells a person what to do.
func (c *converter) todo(step *Step, what string) mapping {
	var b strings.Builder
	b.WriteString(strings.TrimSpace("To do: " + shorten(step.Name, 200)))
	for _, more := range []string{step.Description, what} {
		if more = strings.TrimSpace(more); more != "" {
			b.WriteString("\n" + shorten(more, maxText))
		}
	}
	var about []string
	for _, target := range step.Targets {
		if t, ok := c.in.TargetDefinitions[target]; ok {
			about = append(about, t.Name)
		} else if t, ok := c.in.AgentDefinitions[target]; ok {
			about = append(about, t.Name)
		}
	}
	if len(about) > 0 {
		b.WriteString("\nOn: " + shorten(strings.Join(about, ", "), 400))
	}
	return mapping{"id": c.id(step.Name), "do": "alert.note", "with": mapping{"text": c.text(b.String())}}
}

func commandText(command Command) string {
	what := command.Command
	if what == "" {
		what = decoded(command.CommandB64)
	}
	if command.Description != "" {
		what = command.Description + "\n" + what
	}
	if command.Type != "manual" {
		what = command.Type + ": " + what
	}
	return what
}

// decoded is text in base64, or nothing.
func decoded(b64 string) string {
	data, err := base64.StdEncoding.DecodeString(b64)
	if err != nil || !utf8.Valid(data) {
		return ""
	}
	return string(data)
}

var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}

// request converts an HTTP request whose address is known; nil when it is not.
func (c *converter) request(id string, step *Step, command Command) mapping {
	line := strings.Fields(command.Command)
	if len(line) < 2 || !slices.Contains(methods, strings.ToUpper(line[0])) {
		c.note(id, NotConverted, "an HTTP request whose first line is not METHOD ADDRESS: becomes a note on the alert")
		return nil
	}
	address := line[1]
	if !strings.Contains(address, "://") {
		address = strings.TrimSuffix(c.base(step), "/") + "/" + strings.TrimPrefix(address, "/")
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || strings.Contains(address, "__:value") {
		c.note(id, NotConverted, "an HTTP request whose address is not known: becomes a note on the alert")
		return nil
	}
	with := mapping{"url": escaped(address), "method": strings.ToUpper(line[0])}
	headers := mapping{}
	for name, values := range command.Headers {
		switch strings.ToLower(name) {
		case "authorization", "cookie", "proxy-authorization", "x-api-key":
			c.note(id, NotConverted, "the header %s: write auth with a reference to the secret", shorten(name, 40))
		case "host", "content-length", "content-type", "connection":
		default:
			headers[shorten(name, 100)] = c.text(shorten(strings.Join(values, ", "), maxText))
		}
	}
	if len(headers) > 0 {
		with["headers"] = headers
	}
	content := command.Content
	if content == "" {
		content = decoded(command.ContentB64)
	}
	if content != "" {
		var body any
		if json.Unmarshal([]byte(content), &body) == nil {
			with["body"] = c.inside(body)
		} else {
			c.note(id, NotConverted, "the content of the request is not JSON, and left out")
		}
	}
	c.note(id, Converted, "an HTTP request")
	return mapping{"id": c.id(step.Name), "do": "http.request", "with": with}
}

// inside replaces variables in the texts of a JSON value.
func (c *converter) inside(v any) any {
	switch v := v.(type) {
	case string:
		return c.text(v)
	case []any:
		for i := range v {
			v[i] = c.inside(v[i])
		}
	case mapping:
		for key := range v {
			v[key] = c.inside(v[key])
		}
	}
	return v
}

// base is the address of the agent or target that takes requests.
func (c *converter) base(step *Step) string {
	for _, id := range append([]string{step.Agent}, step.Targets...) {
		for _, definitions := range []map[string]Agent{c.in.AgentDefinitions, c.in.TargetDefinitions} {
			if urls := definitions[id].Address["url"]; len(urls) > 0 {
				return urls[0]
			}
		}
	}
	return ""
}
