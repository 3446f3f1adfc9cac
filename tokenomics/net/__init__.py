"""HTTP/1.1 on trio and h11: pure parts (`heads`, `framing`, `message`, `pool`) and the shell around
them (`wire`, `server`, `client`, `tls`). The only package that knows h11 and sockets."""
