//! From outside to a container: published ports.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use sandbox::traffic::{ask_tcp, ask_udp};
use sandbox::{Host, Namespaced, UPLINK_V4};

use super::{down, eventually, inside, json, ok, refused, serving, story, up};

/// The page at an address, requested from this host or from another one.
fn page(place: Option<&Namespaced>, address: &str) -> String {
    let ask = || {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text).map(|_| text)
    };
    let text = match place {
        Some(place) => place.enter(ask),
        None => ask(),
    };
    text.unwrap_or_default()
}

fn outside(host: &Host, port: u16) -> Option<String> {
    ask_tcp(Some(&host.outside), &format!("{UPLINK_V4}:{port}")).ok().map(|text| text.trim().to_owned())
}

/// `docker run -p 80:80 -p 8080:80 --name httpd_service httpd`
#[test]
fn a_web_server_on_two_ports() {
    story(|host| {
        fs::create_dir("/run/www").unwrap();
        fs::write("/run/www/index.html", "It works!").unwrap();
        up("--name httpd_service -p 80:80 -p 8080:80", "exec busybox httpd -f -p 80 -h /run/www");
        for port in [8080, 80] {
            eventually("the page", || page(None, &format!("localhost:{port}")).contains("It works!"));
            assert!(page(Some(&host.outside), &format!("{UPLINK_V4}:{port}")).contains("It works!"));
        }
        let taken = refused("run -p 80:8000 -- true");
        assert!(taken.contains("80/tcp") && taken.contains("bridge"), "{taken}");
        down("httpd_service");
        assert_eq!(page(Some(&host.outside), &format!("{UPLINK_V4}:80")), "");
        fs::remove_dir_all("/run/www").unwrap();
    });
}

/// `docker run -d -P training/webapp`, `docker inspect -f '{{.NetworkSettings.Ports}}'`, `docker port ID 5000`
#[test]
fn exposed_ports_on_free_ones() {
    story(|host| {
        let id = up("-P --expose 5000", &serving(5000, "webapp"));
        let short = &id[..12];
        let shown = json(&format!("inspect {short}"));
        let binding = &shown[0]["NetworkSettings"]["Ports"]["5000/tcp"][0];
        assert_eq!(binding["HostIp"], "0.0.0.0", "{shown}");
        let port: u16 = binding["HostPort"].as_str().unwrap().parse().unwrap();
        assert!(port >= 32768, "{port}");
        eventually("the free port", || outside(host, port).as_deref() == Some("webapp"));
        assert_eq!(ok(&format!("port {short} 5000")), format!("0.0.0.0:{port}\n"));
        assert_eq!(ok(&format!("port {short}")), format!("5000/tcp -> 0.0.0.0:{port}\n"));
        assert_eq!(json(&format!("port {short}"))["5000/tcp"][0]["HostPort"], port.to_string());
        assert!(refused(&format!("port {short} 5001")).contains("5001/tcp"));
        down(short);
    });
}

/// busybox has no server for datagrams; perl is on every Debian.
const UDP_SERVER: &str = r#"exec perl -MIO::Socket::INET -e '
    my $socket = IO::Socket::INET->new(LocalPort => 5000, Proto => "udp") or die $!;
    $socket->send("named") while $socket->recv(my $question, 100);'"#;

/// `docker run -d -p 127.0.0.1:5000:5000/udp`
#[test]
fn udp_on_loopback_alone() {
    story(|host| {
        up("--name dns -p 127.0.0.1:5000:5000/udp", UDP_SERVER);
        eventually("the datagram", || ask_udp(None, "127.0.0.1:5000").is_ok_and(|text| text == "named"));
        assert!(ask_udp(Some(&host.outside), &format!("{UPLINK_V4}:5000")).is_err());
        assert_eq!(ok("port dns"), "5000/udp -> 127.0.0.1:5000\n");
        down("dns");
    });
}

/// `docker run -p 5000:5000 -p 18080:8080`; `-p 8000:8080 … docker_t1`, `-p 8001:8080 … docker_t2`
#[test]
fn several_ports_and_several_containers_with_the_same_one() {
    story(|host| {
        let both = "busybox nc -ll -p 5000 -e echo app & exec busybox nc -ll -p 8080 -e echo admin";
        up("--name several -p 5000:5000 -p 18080:8080", both);
        up("--name docker_t1 -p 8000:8080", &serving(8080, "t1"));
        up("--name docker_t2 -p 8001:8080", &serving(8080, "t2"));
        for (port, text) in [(5000, "app"), (18080, "admin"), (8000, "t1"), (8001, "t2")] {
            eventually(text, || outside(host, port).as_deref() == Some(text));
        }
        assert_eq!(ok("port several"), "5000/tcp -> 0.0.0.0:5000\n8080/tcp -> 0.0.0.0:18080\n");
        assert!(inside("docker_t1", "ip -4 -o addr show eth0").1.contains("172.17.0."));
        down("several docker_t1 docker_t2");
    });
}
