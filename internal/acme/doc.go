// Package acme keeps one certificate for our own names fresh from an ACME
// server such as Let's Encrypt (RFC 8555), proving the names by HTTP (http-01,
// RFC 8555 section 8.3) or in a TLS handshake (tls-alpn-01, RFC 8737). The
// result are two PEM files, so that whatever reads certificates from files, as
// listen.Certificates does, needs to know nothing of it.
package acme
