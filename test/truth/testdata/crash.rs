// Traits, generics, closures and iterators down to a read of address 8.
use std::hint::black_box;

trait Visit {
    fn visit(&self, depth: u32) -> u64;
}

struct Node<T> {
    value: T,
    next: Option<Box<dyn Visit>>,
}

struct Leaf(*const u64);

impl<T: Copy + Into<u64>> Visit for Node<T> {
    #[inline(never)]
    fn visit(&self, depth: u32) -> u64 {
        let below: u64 = match &self.next {
            Some(n) => n.visit(depth + 1),
            None => 0,
        };
        black_box(below + self.value.into())
    }
}

impl Visit for Leaf {
    #[inline(never)]
    fn visit(&self, depth: u32) -> u64 {
        let v = unsafe { std::ptr::read_volatile(self.0) };
        black_box(v + depth as u64)
    }
}

#[inline(never)]
fn sum(nodes: &[Box<dyn Visit>]) -> u64 {
    let total = nodes.iter().map(|n| n.visit(0)).fold(0, |a, b| a + b);
    black_box(total)
}

fn main() {
    let leaf: Box<dyn Visit> = Box::new(Leaf(black_box(8 as *const u64)));
    let inner: Box<dyn Visit> = Box::new(Node { value: 7u32, next: Some(leaf) });
    let outer: Box<dyn Visit> = Box::new(Node { value: 9u64, next: Some(inner) });
    let r = sum(&[outer]);
    println!("{}", black_box(r));
}
