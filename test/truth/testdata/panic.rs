// A failing unwrap below a sort's comparator, in a thread; iterators, closures
// and generics are inlined on the way. A hook ends the process.
use std::collections::BTreeMap;
use std::hint::black_box;

#[derive(Clone, Debug)]
struct Row<K> {
    key: K,
    cells: Vec<Option<u32>>,
}

#[inline(never)]
fn total<K: Ord + Clone>(row: &Row<K>) -> u32 {
    row.cells.iter().filter(|c| c.is_none() || c.unwrap() > 1).map(|c| c.unwrap()).sum()
}

#[inline(never)]
fn sort<K: Ord + Clone>(rows: &mut Vec<Row<K>>) -> usize {
    rows.sort_by(|a, b| total(a).cmp(&total(b)).then_with(|| a.key.cmp(&b.key)));
    black_box(rows.len())
}

fn main() {
    std::panic::set_hook(Box::new(|info| {
        eprintln!("{info}");
        std::process::abort();
    }));
    let mut map = BTreeMap::new();
    for i in 0..6u32 {
        map.insert(i, Row { key: format!("row {i}"), cells: (0..i).map(|n| if n == 4 { None } else { Some(n) }).collect() });
    }
    let worker = std::thread::Builder::new().name("sorter".to_string()).spawn(move || {
        let mut rows: Vec<Row<String>> = map.values().cloned().collect();
        let n = sort(&mut rows);
        black_box(n + 1)
    });
    let n = worker.unwrap().join().unwrap();
    println!("{}", black_box(n));
}
