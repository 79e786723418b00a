package signature

import (
	"math/rand/v2"
	"strconv"
	"strings"
)

// madeStacks makes n stacks of names such as compilers write, the same at each
// call.
func madeStacks(n int) []Input {
	r := rand.New(rand.NewPCG(7, 11))
	words := strings.Fields("Audio Asset Buffer Camera Entity Frame Input Level Mesh Net Physics Render Scene Shader Sound Task Texture Thread Timer World")
	verbs := strings.Fields("Load Save Tick Draw Bind Flush Open Close Find Insert Erase Push Pop Lock Wait Post Read Write Parse Init")
	pick := func(l []string) string { return l[r.IntN(len(l))] }
	name := func() string {
		w, v := pick(words), pick(verbs)
		switch r.IntN(8) {
		case 0:
			return "void " + w + "::" + v + "(" + pick(words) + "*, unsigned int)"
		case 1:
			return "std::vector<" + w + ", std::allocator<" + w + "> >::" + strings.ToLower(v) + "(" + w + " const&)"
		case 2:
			return "(anonymous namespace)::" + w + v
		case 3:
			return "<" + strings.ToLower(w) + "::" + w + " as core::ops::drop::Drop>::drop"
		case 4:
			return w + "::" + v + "()::{lambda(int)#" + strconv.Itoa(r.IntN(9)) + "}::operator()(int) const"
		case 5:
			return pick([]string{"malloc", "free", "memcpy", "abort", "RtlAllocateHeap", "core::panicking::panic_fmt"})
		case 6:
			return w + "_" + strings.ToLower(v)
		}
		return w + "<" + pick(words) + "::" + v + "*>::" + v
	}
	out := make([]Input, n)
	for i := range out {
		t := Thread{Frames: make([]Frame, 8+r.IntN(20))}
		for j := range t.Frames {
			t.Frames[j] = Frame{Function: name(), Module: "game.exe", File: "/src/game/" + pick(words) + ".cpp", Line: strconv.Itoa(1 + r.IntN(900)), Offset: "0x7ff6" + strconv.FormatInt(r.Int64N(1<<20), 16)}
			if r.IntN(10) == 0 {
				t.Frames[j] = Frame{Module: "driver64.dll", Offset: "0x7ffa1000"}
			}
		}
		out[i] = Input{Threads: []Thread{t}, OS: "Linux"}
	}
	return out
}

type hugeSymbol struct{ name, symbol string }

// hugeSymbols are symbols of a megabyte that are hard in one way each.
func hugeSymbols() []hugeSymbol {
	const size = 1 << 20
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	return []hugeSymbol{
		{"angles", fill("<")},
		{"parens", fill("(")},
		{"squares", "[clone .cold] " + fill("[")},
		{"closers", fill(">")},
		{"pairs", fill("<>")},
		{"quotes", fill("`anonymous namespace'")},
		{"lambdas", fill("::$_1::")},
		{"commas", fill(" ,*&")},
		{"spaces", fill(" ")},
		{"operators", fill("operator<")},
		{"traits", fill("IPC::ParamTraits<")},
		{"balanced traits", strings.Repeat("IPC::ParamTraits<", size/18) + strings.Repeat(">", size/18)},
		{"as", fill("IPC::ParamTraits< as ")},
		{"hex", "a::h" + fill("f")},
		{"words", fill("abort free ")},
		{"plain", fill("a")},
		{"unicode", fill("\u0430<\u20ac>")},
		{"framework", fill("framework")},
	}
}
