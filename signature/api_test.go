package signature

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayday/app/fault"
)

func TestAnswerRequest(t *testing.T) {
	body := `{"jobs":[{"threads":[{"frames":[{"function":"malloc"},{"function":"Game::Load(int)"}]}]},{"java_stack_trace":"x"}]}`
	text, err := AnswerRequest([]byte(body), Default())
	if err != nil {
		t.Fatal(err)
	}
	var got any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	list := func(s ...any) []any { return append([]any{}, s...) }
	want := map[string]any{"results": list(
		map[string]any{
			"signature": "malloc | Game::Load", "notes": list(), "lists": Default().Version(),
			"debug_log": list(
				"SignatureGenerationRule: using CSignatureTool",
				"SignatureGenerationRule: using included signature lists",
				`SignatureGenerationRule: prefix; continue iterating: "malloc"`,
				`SignatureGenerationRule: not a prefix; stop: "Game::Load"`,
				`SignatureGenerationRule: change signature: "" -> "malloc | Game::Load"`),
			"extra": map[string]any{"proto_signature": "malloc | Game::Load", "normalized_frames": list("malloc", "Game::Load")},
		},
		map[string]any{
			"signature": "x", "extra": map[string]any{}, "lists": Default().Version(),
			"notes": list(
				"SignatureGenerationRule: JavaSignatureTool: stack trace line 1 is not in the expected format",
				"SignatureGenerationRule: JavaSignatureTool: stack trace line 2 is missing"),
			"debug_log": list(
				"SignatureGenerationRule: using JavaSignatureTool",
				`SignatureGenerationRule: change signature: "" -> "x"`),
		})}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestAnswerRequestRefuses(t *testing.T) {
	for body, want := range map[string]struct {
		kind fault.Kind
		text string
	}{
		``:                {fault.Invalid, "no JSON object"},
		`[]`:              {fault.Invalid, "no JSON object"},
		`{}`:              {fault.Invalid, "no jobs specified"},
		`{"jobs":[]}`:     {fault.Invalid, "no jobs specified"},
		`{"jobs":"x"}`:    {fault.Invalid, "no jobs specified"},
		`{"jobs":[{},5]}`: {fault.Invalid, "job 1 is no JSON object"},
		`{"jobs":[{}` + strings.Repeat(",{}", maxJobs) + `]}`: {fault.TooLarge, "more than 10000 jobs"},
	} {
		_, err := AnswerRequest([]byte(body), Default())
		if err == nil || fault.Of(err) != want.kind || !strings.Contains(err.Error(), want.text) {
			t.Errorf("%.40s: got %v, want %s: %s", body, err, want.kind, want.text)
		}
	}
	if _, err := AnswerRequest([]byte(`{"jobs":[{}`+strings.Repeat(",{}", maxJobs-1)+`]}`), Default()); err != nil {
		t.Errorf("at the limit: %v", err)
	}
}
