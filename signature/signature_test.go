package signature

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The names are of our own making; what becomes of them follows from the rules
// in the comments of function.go.
var functionCases = []struct{ raw, cpp, rust string }{
	{"", "", ""},
	{"main", "main", "main"},
	{"void Game::Tick(float)", "Game::Tick", "Game::Tick"},
	{"void* operator new(unsigned long)", "new", "new"},
	{"Game::operator new[](unsigned long)", "Game::operator new[]", "new[]"},
	{"Ref<int>::operator->() const", "Ref<T>::operator->", "const"},
	{"std::operator<< <std::char_traits<char> >(A&, char const*)", "std::operator<< <std::char_traits<char> >", "std::operator<T>"},
	{"Heap<Obj*>::operator Obj* const &()", "Heap<T>::operator Obj* const&", "&"},
	{"Game::run() volatile", "volatile", "volatile"},
	{"Game::run() const [clone .cold.3]", "const ", "const [clone .cold.3]"},
	{"Game::run()::{lambda(int)#1}::operator()(int) const", "Game::run::{lambda#1}::operator()", "const"},
	{"(anonymous namespace)::f<(anonymous namespace)::T>(X)", "(anonymous namespace)::f<T>", "::f<T>"},
	{"`anonymous namespace'::f", "(anonymous namespace)::f", "`anonymous namespace'::f"},
	{"A::$_12::f", "A::$::f", "A::$_12::f"},
	{"A::$_1::$_2::f", "A::$::$_2::f", "A::$_1::$_2::f"},
	{"is_const", "is_", "is_const"},
	{"Map<int>::find(int, char *)", "Map<T>::find", "Map<T>::find"},
	{"<A<B> as C<D>>::e<F>", "<A<B> as C<D>>::e<T>", "<A<B> as C<D>>::e<T>"},
	{"<fn(A) -> B as C>::d", "C>::d", "C>::d"},
	{"IPC::ParamTraits<Str<char> >::Write(X)", "IPC::ParamTraits<Str<T> >::Write", "IPC::ParamTraits<T>::Write"},
	{"IPC::ParamTraits<IPC::ParamTraits<Str<char>>>::Write", "IPC::ParamTraits<IPC::ParamTraits<Str<T>>>::Write", "IPC::ParamTraits<T>::Write"},
	{"game::step::h0123456789abcdef", "game::step::h0123456789abcdef", "game::step"},
	{"a ,b", ", b", ", b"},
	{"const", "", "const"},
	{"foo<", "foo<T>", "foo<T>"},
	{"foo(", "foo", "foo"},
}

func TestFunction(t *testing.T) {
	lists := Default()
	for _, c := range functionCases {
		if got := NormalizeFrame(Frame{Function: c.raw}, false, lists); got != c.cpp {
			t.Errorf("C++ %q: got %q, want %q", c.raw, got, c.cpp)
		}
		rust := Frame{Function: c.raw, File: "git:host/repo:src/lib.rs:abc"}
		if got := NormalizeFrame(rust, false, lists); got != c.rust {
			t.Errorf("Rust %q: got %q, want %q", c.raw, got, c.rust)
		}
	}
}

func TestFrameWithoutFunction(t *testing.T) {
	for _, c := range []struct {
		frame Frame
		want  string
	}{
		{Frame{File: `c:\src\game\tick.cpp`, Line: "12", Module: "game.dll"}, "tick.cpp#12"},
		{Frame{File: "/src/tick.cpp/", Line: "12"}, "tick.cpp#12"},
		{Frame{File: "/src/tick.cpp", Line: "0", Module: "Game.dll"}, "game.dll"},
		{Frame{Module: "[vdso]"}, "vdso"},
		{Frame{UnloadedModules: []string{"Gone.dll", "b"}, Offset: "0x1"}, "(unloaded Gone.dll)"},
		{Frame{Offset: "40"}, "@0x40"},
		{Frame{Offset: "0X1F"}, "@0x1f"},
		{Frame{Offset: "-0x10"}, "@-0x10"},
		{Frame{Offset: "0x0000000000000000"}, "@0x0"},
		{Frame{Offset: "0x_1_f"}, "@0x1f"},
		{Frame{Offset: "nowhere"}, "@nowhere"},
		{Frame{}, ""},
	} {
		if got := NormalizeFrame(c.frame, true, nil); got != c.want {
			t.Errorf("%+v: got %q, want %q", c.frame, got, c.want)
		}
	}
}

func TestGenerate(t *testing.T) {
	size := int64(1 << 20)
	hang := "ui"
	stack := []Thread{{Frames: []Frame{
		{Function: "abort"}, {Function: "malloc"}, {Function: "Level::Load(char const*)"}, {Function: "main"}}}}
	for _, c := range []struct {
		name  string
		in    Input
		want  string
		notes []string
	}{
		{name: "stack", in: Input{Threads: stack}, want: "malloc | Level::Load"},
		{name: "nothing", want: "EMPTY: no frame data available",
			notes: []string{"SignatureGenerationRule: CSignatureTool: no frame data for crashing thread (0)"}},
		{name: "walker failed", in: Input{StackwalkStatus: "EmptyMinidump"}, want: "EMPTY: no frame data available; EmptyMinidump",
			notes: []string{"SignatureGenerationRule: CSignatureTool: no frame data for crashing thread (0)"}},
		{name: "large allocation", in: Input{Threads: stack, OOMAllocationSize: &size}, want: "OOM | large | malloc | Level::Load"},
		{name: "hang", in: Input{Threads: stack, Hang: &hang}, want: "hang: ui | malloc | Level::Load"},
		{name: "abort message", in: Input{Threads: stack, AbortMessage: "[12] ###!!! ABORT: no more: file x.cpp, line 3"}, want: "Abort | no more | malloc | Level::Load"},
		{name: "last thread", in: Input{Threads: append([]Thread{{}}, stack...), CrashingThread: -1}, want: "malloc | Level::Load"},
		{name: "stack overflow", in: Input{Threads: stack, Reason: "EXCEPTION_STACK_OVERFLOW"}, want: "stackoverflow | malloc | Level::Load"},
		{name: "shutdown", in: Input{Threads: stack, AsyncShutdownTimeout: `{"phase":"p","conditions":[{"name":"b"},"a"]}`},
			want:  "AsyncShutdownTimeout | p | a,b",
			notes: []string{`SignatureShutdownTimeout: Signature replaced with a Shutdown Timeout signature, was: "malloc | Level::Load"`}},
		{name: "java", in: Input{JavaStackTrace: "a.B: oh @0123abcd no\n\tat c.D.e(D.java:12)\n"}, want: "a.B: oh @<addr> no at c.D.e(D.java)"},
		{name: "java exception", in: Input{JavaException: &JavaException{Type: "E", Module: "a", Frames: []JavaFrame{{Module: "c.D", Function: "e", File: "D.kt"}}}}, want: "a.E: at c.D.e(D.kt)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Generate(c.in, nil)
			if got.Signature != c.want {
				t.Errorf("got %q, want %q", got.Signature, c.want)
			}
			if d := cmp.Diff(c.notes, got.Notes); d != "" {
				t.Errorf("notes (-want +got):\n%s", d)
			}
		})
	}
}
