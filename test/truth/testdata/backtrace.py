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


def symbol(frame):
    """The name that the linker's symbols have for the function of a frame."""
    function = frame.function()
    if function is None or frame.type() == gdb.INLINE_FRAME:
        return ""
    text = gdb.execute("info symbol %#x" % int(function.value().address), to_string=True)
    return text.split(" in section ")[0].strip() if " in section " in text else ""


def stack():
    frames = []
    frame = gdb.newest_frame()
    while frame is not None and len(frames) < MOST:
        place = frame.find_sal()
        frames.append({
            "kind": kind(frame),
            "function": frame.name() or "",
            "symbol": symbol(frame),
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
