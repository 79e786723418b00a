// A value dropped while a panic unwinds panics again, which ends the process;
// with panic=abort the first one does.
use std::cell::RefCell;
use std::hint::black_box;
use std::rc::Rc;

trait Sink {
    fn take(&self, n: usize) -> usize;
}

struct Shared(Rc<RefCell<Vec<usize>>>);

impl Sink for Shared {
    #[inline(never)]
    fn take(&self, n: usize) -> usize {
        let held = self.0.borrow();
        let r = self.push(n);
        black_box(r + held.len())
    }
}

impl Shared {
    #[inline(always)]
    fn push(&self, n: usize) -> usize {
        self.0.borrow_mut().push(n);
        n
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let n = self.0.borrow().len();
        let last = [1, 2, 3][black_box(n + 3)];
        black_box(last);
    }
}

#[inline(never)]
fn feed(sinks: &[Box<dyn Sink>]) -> usize {
    sinks.iter().enumerate().map(|(i, s)| s.take(i)).max().unwrap_or(0)
}

fn main() {
    let sinks: Vec<Box<dyn Sink>> = vec![Box::new(Shared(Rc::new(RefCell::new(Vec::new()))))];
    let n = feed(&sinks);
    println!("{}", black_box(n));
}
