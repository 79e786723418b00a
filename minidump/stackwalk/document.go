package stackwalk

import (
	"unsafe"

	"mayday/minidump/stackwalk/jsontext"
)

// Document is the JSON as Go values: objects are map[string]any, arrays []any,
// numbers json.Number. It is made anew with every call. Texts share one copy of
// the JSON, so a document costs little more than its maps.
//
// Unlike the JSON it is bounded, whatever the dump: DocumentFrames frames of
// each stack, and of lists without end as much as fits some megabytes. The key
// "truncated" says which parts are not whole.
func (s *State) Document() (map[string]any, error) {
	frames := 0
	for i := range s.Threads {
		frames += min(len(s.Threads[i].stack().Frames), DocumentFrames)
	}
	threads := threadRoom(s.size)
	size := min(usualFrame*frames, threads) + min(usualModule*len(s.Modules), documentParts["modules"]) + usualRest
	e := &encoder{Writer: jsontext.Writer{B: make([]byte, 0, size)}, width: s.System.AddressWidth(), room: &documentRoom{threads: threads}}
	e.state(s)
	// All of it is known to be right: the only part that others wrote, the soft
	// errors, was parsed and written anew before. Nobody writes to e.B any more.
	doc, _ := jsontext.Values(unsafe.String(unsafe.SliceData(e.B), len(e.B))).(map[string]any)
	return doc, nil
}
