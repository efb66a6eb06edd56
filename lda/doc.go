// Package lda brings one message to local accounts: address -> account ->
// filter -> folder -> durable file. The Agent routes addresses (local domains,
// aliases, plus details, catch-alls) and delivers inside the SMTP transaction;
// Run is the command that takes dovecot-lda's place, and Handover is how it
// reaches the daemon.
package lda
