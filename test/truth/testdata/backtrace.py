"""Writes the stacks of all threads of a stopped program, as gdb sees them, as JSON to the file that the global variable stacks_path names."""
import json

import gdb

# MOST bounds the frames of a thread; the programs here have fewer.
MOST = 5000


def kind(frame):
    return {
        gdb.NORMAL_FRAME: "normal",
        gdb.INLINE_FRAME: "inline",
        gdb.TAILCALL_FRAME: "tail call",
        gdb.SIGTRAMP_FRAME: "signal",
    }.get(frame.type(), "other")


def symbol(address):
    """The name that the linker's symbols have for the function at an address."""
    text = gdb.execute("info symbol %#x" % address, to_string=True)
    return text.split(" in section ")[0].split(" + ")[0].strip() if " in section " in text else ""


def stack():
    frames = []
    frame = gdb.newest_frame()
    while frame is not None and len(frames) < MOST:
        place = frame.find_sal()
        function = None if frame.type() == gdb.INLINE_FRAME else frame.function()
        # The caller's address is that of the instruction behind the call, which
        # may belong to the next function.
        before = 0 if not frames or frames[-1]["kind"] == "signal" else 1
        frames.append({
            "kind": kind(frame),
            "function": frame.name() or "",
            "symbol": symbol(int(function.value().address)) if function else "",
            "here": symbol(frame.pc() - before) if function else "",
            "pc": frame.pc(),
            "file": place.symtab.filename if place.symtab else "",
            "line": place.line,
            "library": gdb.solib_name(frame.pc()) or "",
        })
        try:
            frame = frame.older()
        except gdb.error as e:
            frames[-1]["error"] = str(e)
            break
    return frames


threads = []
for thread in gdb.selected_inferior().threads():
    thread.switch()
    threads.append({"id": thread.ptid[1], "frames": stack()})
with open(stacks_path, "w") as f:
    json.dump(threads, f)
