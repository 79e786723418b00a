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
func (s *State) Document() map[string]any { return s.Outline().Document() }

// Outline is a document on its way: its JSON, which holds on to nothing of the
// state. Of large ones the state can go before the values are made.
type Outline struct{ text string }

// Outline is what Document is made of.
func (s *State) Outline() Outline {
	frames := 0
	for i := range s.Threads {
		frames += min(len(s.Threads[i].stack().Frames), DocumentFrames)
	}
	threads := threadRoom(s.size)
	size := min(usualFrame*frames, threads) + min(usualModule*len(s.Modules), documentParts["modules"]) + usualRest
	e := &encoder{Writer: jsontext.Writer{B: make([]byte, 0, size)}, width: s.System.AddressWidth(), room: &documentRoom{threads: threads}}
	e.state(s)
	// Nobody writes to e.B any more.
	return Outline{unsafe.String(unsafe.SliceData(e.B), len(e.B))}
}

// Document makes the values.
func (o Outline) Document() map[string]any {
	// All of it is known to be right: the only part that others wrote, the soft
	// errors, was parsed and written anew before.
	doc, _ := jsontext.Values(o.text).(map[string]any)
	return doc
}
