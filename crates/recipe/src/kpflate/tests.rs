use super::*;
#[test]
fn scratch() {
    let Ok(path) = std::env::var("SCRATCH_IN") else { return };
    let tar = std::fs::read(path).unwrap();
    let variant = match std::env::var("SCRATCH_V").unwrap().as_str() {
        "1" => Variant::First,
        "2" => Variant::Second,
        _ => Variant::Third,
    };
    for level in std::env::var("SCRATCH_LEVELS").unwrap().split(',') {
        let level: i8 = level.parse().unwrap();
        let t = std::time::Instant::now();
        let mut engine = open(variant, level, &[], BitPosition::START).unwrap();
        let mut out = Vec::new();
        for part in tar.chunks(1 << 20) {
            engine.write(part, &mut out);
        }
        engine.finish(&mut out);
        let s = t.elapsed().as_secs_f64();
        println!("level {level}: {} bytes {:.1} MB/s", out.len(), tar.len() as f64 / 1e6 / s);
        std::fs::write(format!("{}.{level}", std::env::var("SCRATCH_OUT").unwrap()), out).unwrap();
    }
}
