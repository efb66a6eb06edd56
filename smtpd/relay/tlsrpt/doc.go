// Package tlsrpt tells domains once a day what came of TLS on the way to them
// (SMTP TLS Reporting, RFC 8460): it counts what the relay observes, by UTC day
// and destination, and sends each domain that asks for it a report of the day
// before, by mail or by HTTPS.
//
// The counts are kept in a directory, a file a day, so that a restart loses half
// a minute at most; the files may be deleted at any time. A report that cannot
// be handed over is tried again every hour for a day (section 5.5).
//
// A file holds one thing: tally.go what is counted,
// record.go where a domain wants its reports, report.go their form, mail.go and
// post.go the two ways to send them, collector.go the days' course.
package tlsrpt
