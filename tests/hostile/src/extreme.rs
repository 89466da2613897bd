//! Inputs that are too large, too deep or too unusual to be kept as files: they are made when they are needed.

/// One such input.
#[derive(Clone, Debug)]
pub struct Extreme {
    /// A description.
    pub name: &'static str,
    /// The bytes.
    pub bytes: Vec<u8>,
}

fn extreme(name: &'static str, bytes: impl Into<Vec<u8>>) -> Extreme {
    Extreme { name, bytes: bytes.into() }
}

/// A configuration with this text in the place of many values.
fn with(value: &str) -> String {
    format!(
        r#"{{"cniVersion":"1.1.0","name":"net","type":"bridge","ipam":{{"type":"host-local","ranges":{value},"routes":{value}}},
        "runtimeConfig":{{"portMappings":{value},"aliases":{value}}},"endpoint":{value},"dns":{value},"prevResult":{value}}}"#
    )
}

/// All such inputs; the longest has ten mebibytes.
#[must_use]
pub fn extremes() -> Vec<Extreme> {
    const MEBI: usize = 1 << 20;
    let named = |name: &str| format!(r#"{{"cniVersion":"1.0.0","name":{name},"type":"bridge"}}"#);
    let many =
        |count: usize, one: &dyn Fn(usize) -> String| (0..count).map(one).collect::<Vec<_>>().join(",");
    let keys = many(60_000, &|index| format!(r#""key{index}":0"#));
    let subnet = |index| format!(r#"[{{"subnet":"10.{}.{}.0/30"}}]"#, index / 256, index % 256);
    let subnets = many(20_000, &subnet);
    let ports = many(16_000, &|port| format!(r#"{{"hostPort":{port},"containerPort":{port}}}"#));
    let routes = many(16_000, &|index| format!(r#"{{"dst":"10.{}.{}.0/24"}}"#, index / 256, index % 256));
    let deep = format!("{}0{}", r#"{"":"#.repeat(100), "}".repeat(100));
    let deep = vec![deep; 163].join(",");
    vec![
        extreme("ten mebibytes of white space", vec![b' '; 10 * MEBI]),
        extreme("ten mebibytes of NULs", vec![0; 10 * MEBI]),
        extreme("ten mebibytes of text", vec![b'x'; 10 * MEBI]),
        extreme("lists, a million deep", "[".repeat(MEBI)),
        extreme("objects, two hundred thousand deep", "{\"a\":".repeat(200_000)),
        extreme("a configuration with lists within it, a hundred thousand deep", with(&"[".repeat(100_000))),
        extreme("lists, as deep as they may be", with(&format!("{}{}", "[".repeat(120), "]".repeat(120)))),
        extreme("small objects, three hundred thousand", format!("[{}0]", "{\"\":0},".repeat(299_000))),
        extreme("small objects, as many as there may be", with(&format!("[{}0]", "{\"\":0},".repeat(4_000)))),
        extreme("small lists, as many as there may be", with(&format!("[{}0]", "[0],".repeat(4_000)))),
        extreme("empty texts, as many as there may be", with(&format!("[{}\"\"]", "\"\",".repeat(8_000)))),
        extreme("unknown keys, sixty thousand", format!(r#"{{{keys},"name":"net"}}"#)),
        extreme(
            "unknown keys of a bridge, sixty thousand",
            format!(r#"{{{keys},"cniVersion":"1.0.0","name":"net","type":"bridge"}}"#),
        ),
        extreme(
            "objects in each other, as many as there may be",
            format!(r#"{{"cniVersion":"1.0.0","name":"net","type":"bridge","args":[{deep}]}}"#),
        ),
        extreme(
            "routes, sixteen thousand",
            format!(
                r#"{{"cniVersion":"1.0.0","name":"net","type":"bridge","ipam":{{"type":"host-local",
                "ranges":[[{{"subnet":"10.1.0.0/24"}}]],"routes":[{routes}]}}}}"#
            ),
        ),
        extreme(
            "a key twice, sixty thousand times",
            format!(r#"{{{}"name":"net"}}"#, r#""mtu":1,"#.repeat(60_000)),
        ),
        extreme(
            "a key in every case",
            r#"{"name":"a","NAME":"b","Name":"c","cniVersion":"1.0.0","CNIVERSION":"0.1.0"}"#,
        ),
        extreme("a name of a mebibyte", named(&format!("\"{}\"", "x".repeat(MEBI)))),
        extreme("a name of a mebibyte of quotes", named(&format!("\"{}\"", "\\\"".repeat(MEBI / 2)))),
        extreme("a name that is a list", named(&format!("[{}0]", "0,".repeat(60_000)))),
        extreme("a name of a lone surrogate", named(r#""\ud800""#)),
        extreme("a name with a NUL", named(r#""a\u0000b""#)),
        extreme("a number of a hundred thousand digits", with(&"9".repeat(100_000))),
        extreme(
            "numbers beyond all types",
            with("[1e400,-1e400,18446744073709551616,-9223372036854775809,1e-400]"),
        ),
        extreme("bytes that are no UTF-8", b"{\"name\":\"\xff\xfe\xc0\x80\xed\xa0\x80\"}".to_vec()),
        extreme("a byte order mark", b"\xef\xbb\xbf{\"cniVersion\":\"1.0.0\",\"name\":\"net\"}".to_vec()),
        extreme("two documents", format!("{}{}", named("\"a\""), named("\"b\""))),
        extreme("subnets, twenty thousand", with(&format!("[{subnets}]"))),
        extreme("ports, sixteen thousand", with(&format!("[{ports}]"))),
    ]
}
