//! Changes of a body that keep it `MessagePack`: one value becomes another of its kind, or a list longer or shorter.

use rmpv::Value;

const NUMBERS: [f64; 10] = [0.0, -0.0, 1.0, -1.0, 0.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, 5e-324];
const WHOLE: [i64; 12] = [0, 1, 2, 3, 7, 8, -1, -2, 255, 65_535, 1 << 31, i64::MAX];

/// Well mixed numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }
}

/// The body with one value changed; `None` where it holds no `MessagePack` at all.
pub fn changed(body: &[u8], seed: u32) -> Option<Vec<u8>> {
    let mut value = rmpv::decode::read_value(&mut &body[..]).ok()?;
    let mut random = Random(u64::from(seed));
    let places = leaves(&value);
    let mut at = random.below(places);
    change(&mut value, &mut at, &mut random);
    let mut changed = Vec::new();
    rmpv::encode::write_value(&mut changed, &value).ok()?;
    Some(changed)
}

/// Values that may change: numbers, flags and lists.
fn leaves(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(leaves).sum::<usize>(),
        Value::Map(entries) => entries.iter().map(|(_, value)| leaves(value)).sum(),
        _ => 1,
    }
}

/// Changes the value number `at` in order; counts `at` down on the way.
fn change(value: &mut Value, at: &mut usize, random: &mut Random) -> bool {
    if !matches!(value, Value::Map(_)) {
        if *at == 0 {
            *value = other(value, random);
            return true;
        }
        *at -= 1;
    }
    match value {
        Value::Array(items) => items.iter_mut().any(|item| change(item, at, random)),
        Value::Map(entries) => entries.iter_mut().any(|(_, value)| change(value, at, random)),
        _ => false,
    }
}

fn other(value: &Value, random: &mut Random) -> Value {
    match value {
        Value::F64(x) => match random.below(3) {
            0 => NUMBERS[random.below(NUMBERS.len())].into(),
            1 => (x + random.below(9) as f64 / 4.0 - 1.0).into(),
            _ => (x * 1.5).into(),
        },
        Value::F32(x) => match random.below(3) {
            0 => (NUMBERS[random.below(NUMBERS.len())] as f32).into(),
            1 => (x + random.below(9) as f32 / 4.0 - 1.0).into(),
            _ => (x * 1.5).into(),
        },
        Value::Integer(x) => match random.below(3) {
            0 => WHOLE[random.below(WHOLE.len())].into(),
            1 => x.as_i64().map_or(Value::Nil, |x| x.wrapping_add(1).into()),
            _ => x.as_i64().map_or(Value::Nil, |x| x.wrapping_sub(1).into()),
        },
        Value::Boolean(flag) => (!flag).into(),
        Value::Array(items) => {
            let mut items = items.clone();
            let (one, another) = (random.below(items.len()), random.below(items.len()));
            match random.below(3) {
                _ if items.is_empty() => items.push(1.0.into()),
                0 => drop(items.remove(one)),
                1 => items.insert(one, items[another].clone()),
                _ => items.swap(one, another),
            }
            Value::Array(items)
        }
        _ => Value::Nil,
    }
}
