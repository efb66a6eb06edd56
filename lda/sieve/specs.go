package sieve

import "slices"

// builtin is the table of all commands and tests.
var builtin = tableOf(controlSpecs, actionSpecs, flagSpecs, headerSpecs, variableSpecs, includeSpecs,
	headerEditSpecs, vacationSpecs, logicSpecs, messageSpecs, dateSpecs, worldSpecs)

func tableOf(lists ...[]*spec) specTable {
	table := specTable{}
	for _, list := range lists {
		for _, s := range list {
			table[s.name] = s
		}
	}
	return table
}

// extensions are all that require takes, those of RFC 5228 and others. Every
// one stands for the RFC beside it.
var extensions = []string{
	"body",                         // RFC 5173
	"comparator-i;ascii-casemap",   // RFC 5228 section 2.7.3
	"comparator-i;ascii-numeric",   // RFC 4790 section 9.1
	"comparator-i;octet",           // RFC 5228 section 2.7.3
	"comparator-i;unicode-casemap", // RFC 5051
	"copy",                         // RFC 3894
	"date",                         // RFC 5260
	"duplicate",                    // RFC 7352
	"editheader",                   // RFC 5293
	"encoded-character",            // RFC 5228 section 2.4.2.4
	"envelope",                     // RFC 5228 section 5.4
	"environment",                  // RFC 5183
	"ereject",                      // RFC 5429
	"fileinto",                     // RFC 5228 section 4.1
	"ihave",                        // RFC 5463
	"imap4flags",                   // RFC 5232
	"include",                      // RFC 6609
	"index",                        // RFC 5260 section 6
	"mailbox",                      // RFC 5490
	"regex",                        // draft-murchison-sieve-regex, as in Pigeonhole
	"reject",                       // RFC 5429
	"relational",                   // RFC 5231
	"spamtest",                     // RFC 5235
	"spamtestplus",                 // RFC 5235 section 2.3
	"special-use",                  // RFC 8579
	"subaddress",                   // RFC 5233
	"vacation",                     // RFC 5230
	"vacation-seconds",             // RFC 6131
	"variables",                    // RFC 5229
	"virustest",                    // RFC 5235 section 3
}

// Extensions lists the extensions that scripts may require under these Options,
// sorted: what ManageSieve announces (RFC 5804 section 1.7).
func (o Options) Extensions() []string {
	return slices.DeleteFunc(slices.Clone(extensions), func(e string) bool { return slices.Contains(o.Without, e) })
}

// supports reports whether an extension may be required.
func (o Options) supports(ext string) bool {
	return slices.Contains(extensions, ext) && !slices.Contains(o.Without, ext)
}

// require puts an extension and those that come with it to use.
func (c *checker) require(ext string) {
	c.required[ext] = true
	switch ext {
	case "vacation-seconds":
		c.required["vacation"] = true
	case "spamtestplus":
		c.required["spamtest"] = true
	}
}
