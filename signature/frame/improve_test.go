package frame

import (
	"strings"
	"testing"
	"time"
)

var improved = []struct{ raw, want string }{
	{"main", "main"},
	{"void* operator new(unsigned long)", "operator new"},
	{"void operator delete[](void*, std::nothrow_t const&)", "operator delete[]"},
	{"Pool::operator new[](unsigned long)", "Pool::operator new[]"},
	{"Ref<int>::operator->() const", "Ref<T>::operator->"},
	{"bool operator< <int>(A const&, A const&)", "operator<<T>"},
	{"std::operator<< <std::char_traits<char> >(A&, char const*)", "std::operator<<<T>"},
	{"Heap<Obj*>::operator Obj* const &()", "Heap<T>::operator Obj* const &"},
	{"Ref<A>::operator Ref<B>() const", "Ref<T>::operator Ref<T>"},
	{"Game::run() const", "Game::run"},
	{"Game::run() volatile", "Game::run"},
	{"Game::run() const &", "Game::run"},
	{"Game::run() const [clone .cold.3]", "Game::run"},
	{"Game::run(int) [abi:cxx11]", "Game::run"},
	{"Game::name[abi:cxx11]() const", "Game::name"},
	{"std::string Game::name[abi:cxx11]() const", "Game::name"},
	{"is_const", "is_const"},
	{"run.isra.0.cold", "run"},
	{"run.constprop.12", "run"},
	{"run(int) (.cold)", "run"},
	{"Game::run()::{lambda(int)#1}::operator()(int) const", "Game::run::{lambda}::operator()"},
	{"Game::run()::'lambda0'(int)::operator()(int) const", "Game::run::{lambda}::operator()"},
	{"A::$_12::operator()() const", "A::$_::operator()"},
	{"<lambda_0123456789abcdef>::operator()", "<lambda>::operator()"},
	{"(anonymous namespace)::f<(anonymous namespace)::T>(X)", "(anonymous namespace)::f<T>"},
	{"void (anonymous namespace)::f(X)", "(anonymous namespace)::f"},
	{"static void ns::`anonymous namespace'::f(void*)", "ns::(anonymous namespace)::f"},
	{"Game::`vector deleting destructor'", "Game::`vector deleting destructor'"},
	{"<alloc::raw_vec::RawVec<u8>>::grow", "alloc::raw_vec::RawVec<T>::grow"},
	{"<A<B> as C<D>>::e::<F>", "<A<T> as C<T>>::e::<T>"},
	{"<fn(A) -> B as C>::d", "<fn(A) -> B as C>::d"},
	{"game::step::{{closure}}", "game::step::{closure}"},
	{"game::step::{closure#3}", "game::step::{closure}"},
	{"game::step::h0123456789abcdef", "game::step"},
	{"game::h1f", "game::h1f"},
	{"-[Player play:]", "-[Player play:]"},
	{"unsigned long std::max<unsigned long>(unsigned long const&)", "std::max<T>"},
	{"decltype(auto) f<int>(int)", "f<T>"},
	{"", ""},
	{"const", "const"},
	{"()", ""},
}

func TestImprove(t *testing.T) {
	for _, c := range improved {
		if got := Improve(c.raw); got != c.want {
			t.Errorf("%q: got %q, want %q", c.raw, got, c.want)
		}
	}
}

// Hostile names take no more time than they have bytes.
func TestImproveIsLinear(t *testing.T) {
	for _, part := range []string{"<", "(", "{", "[", "`", "'", "operator", "operator ", "<>", "operator<", " ", "$_", "a b", "<a as ", ".cold", "[clone ", "(."} {
		name := strings.Repeat(part, 1<<20/len(part))
		start := time.Now()
		Improve(name)
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("%q repeated takes %v", part, d)
		}
	}
}

func FuzzImprove(f *testing.F) {
	for _, c := range improved {
		f.Add(c.raw)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if got := Improve(name); len(got) > 3*len(name)+16 {
			t.Errorf("%q becomes longer: %q", name, got)
		}
	})
}
