package signature

import (
	"fmt"
	"strings"
	"testing"
)

// A processed crash has dozens of threads, of which two are read.
func BenchmarkParseRecord(b *testing.B) {
	var threads []string
	for i := range 60 {
		var frames []string
		for j := range 30 {
			frames = append(frames, fmt.Sprintf(`{"frame":%d,"function":"Game::System%d::Run(std::vector<int> const&)","file":"git:host/game:src/system%d.cpp:abc","line":%d,"module":"game.exe","module_offset":"0x%x","offset":"0x7ff6%08x","trust":"cfi","inlines":null}`, j, j, i, j+1, j*16, j*16))
		}
		threads = append(threads, `{"frame_count":30,"thread_name":"worker","frames":[`+strings.Join(frames, ",")+`]}`)
	}
	doc := []byte(`{"uuid":"de1bb258-cbbf-4589-a673-34f800160918","signature":"x","json_dump":{"crash_info":{"crashing_thread":7,"type":"SIGSEGV"},"system_info":{"os":"Linux"},"threads":[` + strings.Join(threads, ",") + `]}}`)
	lists := Default().WithCache(DefaultCacheSize)
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		r, err := ParseRecord(doc)
		if err != nil {
			b.Fatal(err)
		}
		Generate(r.Input, lists)
	}
}
