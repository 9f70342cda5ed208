package playbooks

import (
	"bytes"
	"encoding/json"

	"github.com/erbridge/erbridge/internal/soar"
)

// listsMark begins the second YAML document of a version. A file of a playbook has
// one document, so that nobody can write it there.
const listsMark = "\n--- # what the files of lists held\n"

// storedLists is that second document, as one line of JSON.
type storedLists struct {
	Files map[string][]string `json:"files"`
}

// versionSource is the text that makes a version of a playbook: its file, and a second
// YAML document with what the files of its lists held. A run so keeps the lists that
// it began with, and a list that changes makes another version. Comments in a list
// file make none.
func versionSource(data []byte, files *listFiles) []byte {
	stored := storedLists{Files: map[string][]string{}}
	for name, file := range files.read {
		if file.err == nil {
			stored.Files[name] = append([]string{}, file.items...)
		}
	}
	if len(stored.Files) == 0 {
		return data
	}
	var b bytes.Buffer
	b.Write(bytes.TrimSuffix(data, []byte("\n")))
	b.WriteString(listsMark)
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(stored) // texts can be encoded, and a buffer takes them
	return b.Bytes()
}

// splitVersion undoes versionSource.
func splitVersion(source []byte) (data []byte, files *listFiles) {
	files = newListFiles(nil)
	i := bytes.LastIndex(source, []byte(listsMark))
	if i < 0 {
		return source, files
	}
	var stored storedLists
	dec := json.NewDecoder(bytes.NewReader(source[i+len(listsMark):]))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&stored); err != nil || stored.Files == nil {
		return source, files // a comment of the same words, above the one document
	}
	for name, items := range stored.Files {
		files.read[name] = listFile{items: items}
	}
	return source[:i+1], files
}

func (p *Playbook) version() soar.PlaybookVersion {
	return soar.PlaybookVersion{Hash: p.Hash, Name: p.Name, Source: p.Source}
}
