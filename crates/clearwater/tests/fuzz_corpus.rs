//! Replays the corpus that fuzzing has gathered.
#[path = "../../../tests/fuzz/src/targets.rs"]
mod targets;

#[test]
fn the_corpus_holds() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus");
    for (name, target) in targets::TARGETS {
        let inputs: Vec<_> = std::fs::read_dir(corpus.join(name)).unwrap().map(|e| e.unwrap().path()).collect();
        assert!(!inputs.is_empty(), "no corpus for {name}");
        for input in inputs {
            target(&std::fs::read(&input).unwrap());
        }
    }
}
