package dkim

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"strings"
	"testing"

	"svc.plus/mailsrvd/internal/dns"
)

// The facts that ValiMail's arc_test_suite tests (tests/arc-draft-validation-tests.yml,
// which TestARCSuite reads where it is there), under its names and in chains of our
// own: sets are written here tag by tag and signed by a second, simple reading of
// RFC 6376 section 3.4, so that odd ones are truly signed.

// factSet is one set of a chain: the values of its fields, with {bh} and {b} in the
// place of hash and signature. An empty one leaves the field out.
type factSet struct {
	aar, ams, as string
	// old becomes changed in the message before the set is added.
	old, changed string
}

const (
	factAAR  = "i=1; mx.svc.plus; spf=pass; dmarc=pass"
	factAMS  = "a=rsa-sha256; b={b}; bh={bh}; c=relaxed/relaxed; d=svc.plus; h=from:to:date:subject:mime-version; i=1; s=rsa; t=12345"
	factAS   = "a=rsa-sha256; b={b}; cv=none; d=svc.plus; i=1; s=rsa; t=12345"
	factMail = "MIME-Version: 1.0\r\nReturn-Path: <jqd@d1.example>\r\nFrom: John Q Doe <jqd@d1.example>\r\nTo: arc@dmarc.example\r\nSubject: Example  1\r\nDate: Thu, 14 Jan 2015 15:00:01 -0800\r\n\r\nHey gang,\r\nThis is a test  message.\r\n--J.\r\n\r\n"
)

var (
	foldOrSpace = regexp.MustCompile(`[ \t\r\n]+`)
	tagC        = regexp.MustCompile(`(?:^|;)\s*c\s*=\s*([a-z]*)/?([a-z]*)`)
	tagH        = regexp.MustCompile(`(?i)(?:^|;)\s*h\s*=\s*([^;]*)`)
)

// factField is a field's canonical form, without its line end when signed.
func factField(form, name, value string) string {
	if form == "relaxed" {
		return strings.ToLower(strings.TrimSpace(name)) + ":" + strings.TrimSpace(foldOrSpace.ReplaceAllString(value, " "))
	}
	return name + ":" + value
}

func factBody(form, body string) string {
	if form == "relaxed" {
		var lines []string
		for line := range strings.SplitSeq(body, "\r\n") {
			lines = append(lines, strings.TrimRight(regexp.MustCompile(`[ \t]+`).ReplaceAllString(line, " "), " "))
		}
		body = strings.Join(lines, "\r\n")
	}
	if body = strings.TrimRight(body, "\r\n"); body == "" && form == "relaxed" {
		return ""
	}
	return body + "\r\n"
}

func factSign(t *testing.T, text string) string {
	t.Helper()
	key, ok := testKeys[RSA].signer.(*rsa.PrivateKey)
	if !ok {
		t.Fatal("the test key is no RSA key")
	}
	sum := sha256.Sum256([]byte(text))
	b, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b)
}

// chain puts sets before a message, the first one first.
func chain(t *testing.T, msg string, sets ...factSet) string {
	t.Helper()
	var sealed string // all that a seal covers before itself
	for _, s := range sets {
		msg = strings.Replace(msg, s.old, s.changed, 1)
		head, body, _ := strings.Cut(msg, "\r\n\r\n")
		fields := strings.Split(fieldEnd.ReplaceAllString(head, "\x00$1"), "\x00")
		top := ""
		if s.ams != "" {
			form, bodyForm := "simple", "simple"
			if m := tagC.FindStringSubmatch(s.ams); m != nil {
				form = m[1]
				if m[2] != "" {
					bodyForm = m[2]
				}
			}
			if form == "" || form == "pancake" {
				form, bodyForm = "relaxed", "relaxed"
			}
			sum := sha256.Sum256([]byte(factBody(bodyForm, body)))
			s.ams = strings.ReplaceAll(s.ams, "{bh}", base64.StdEncoding.EncodeToString(sum[:]))
			text := ""
			if m := tagH.FindStringSubmatch(s.ams); m != nil {
				used := map[int]bool{}
				for want := range strings.SplitSeq(m[1], ":") {
					for i := len(fields) - 1; i >= 0; i-- {
						name, value, _ := strings.Cut(fields[i], ":")
						if strings.EqualFold(strings.TrimSpace(name), strings.TrimSpace(want)) && !used[i] {
							used[i] = true
							text += factField(form, name, value) + "\r\n"
							break
						}
					}
				}
			}
			text += factField(form, "ARC-Message-Signature", " "+strings.ReplaceAll(s.ams, "{b}", ""))
			s.ams = strings.ReplaceAll(s.ams, "{b}", factSign(t, text))
			top += "ARC-Message-Signature: " + s.ams + "\r\n"
		}
		if s.aar != "" {
			top += "ARC-Authentication-Results: " + s.aar + "\r\n"
			sealed += factField("relaxed", "ARC-Authentication-Results", s.aar) + "\r\n"
		}
		if s.ams != "" {
			sealed += factField("relaxed", "ARC-Message-Signature", s.ams) + "\r\n"
		}
		if s.as != "" {
			s.as = strings.ReplaceAll(s.as, "{b}", factSign(t, sealed+factField("relaxed", "ARC-Seal", strings.ReplaceAll(s.as, "{b}", ""))))
			top = "ARC-Seal: " + s.as + "\r\n" + top
			sealed += factField("relaxed", "ARC-Seal", s.as) + "\r\n"
		}
		msg = top + msg
	}
	return msg
}

var fieldEnd = regexp.MustCompile(`\r\n([^ \t])`)

// TestFactsOfTheARCSuite: each case is a good chain but for what its name says.
func TestFactsOfTheARCSuite(t *testing.T) {
	set := func(aar, ams, as string) factSet { return factSet{aar: aar, ams: ams, as: as} }
	swap := func(s, old, with string) string {
		if !strings.Contains(s, old) {
			t.Fatalf("no %q in %q", old, s)
		}
		return strings.Replace(s, old, with, 1)
	}
	base := set(factAAR, factAMS, factAS)
	ams := func(old, with string) string {
		return chain(t, factMail, set(factAAR, swap(factAMS, old, with), factAS))
	}
	as := func(old, with string) string {
		return chain(t, factMail, set(factAAR, factAMS, swap(factAS, old, with)))
	}
	later := func(n string) factSet {
		return set(swap(factAAR, "i=1", "i="+n), swap(factAMS, "i=1", "i="+n), swap(swap(factAS, "i=1", "i="+n), "cv=none", "cv=pass"))
	}
	good := chain(t, factMail, base)
	changed := func(old, with string) string { return swap(good, old, with) }
	edited := later("2")
	edited.old, edited.changed = "Example  1", "[list] Example 1"
	two := chain(t, factMail, base, later("2"))
	zone := testZone()
	small := testZone("rsa._domainkey.svc.plus", "v=DKIM1; p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAMzgXWZHgeSMVFXPBPFcXKMSgjJV6GjCDHqC6g8tvcG3rwb0hNRAVvKjtNDCaxKBqPyzJ9xkQpfA2rnqOIfJ2DECAwEAAQ==")
	gone := func(context.Context, string) ([]string, error) { return nil, dns.ErrNotFound }
	for _, c := range []struct {
		name string
		msg  string
		zone LookupTXT
		want Value
	}{
		{"cv_no_body", "From: x@y.example\r\n", nil, None},
		{"cv_base1", factMail, nil, None},
		{"cv_pass_i1_1", good, nil, Pass},
		{"cv_pass_i2_1", two, nil, Pass},
		{"cv_pass_i2_1_ams1_invalid", chain(t, factMail, base, edited), nil, Pass},
		{"cv_pass_i3_1", chain(t, factMail, base, later("2"), later("3")), nil, Pass},
		{"cv_pass_i5_1", chain(t, factMail, base, later("2"), later("3"), later("4"), later("5")), nil, Pass},
		{"cv_fail_i1_ams_na", chain(t, factMail, set(factAAR, "", factAS)), nil, Fail},
		{"cv_fail_i1_as_na", chain(t, factMail, set(factAAR, factAMS, "")), nil, Fail},
		{"cv_fail_i1_as_pass", as("cv=none", "cv=pass"), nil, Fail},
		{"cv_fail_i1_as_cv_fail", as("cv=none", "cv=fail"), nil, Fail},
		{"cv_fail_i2_as2_none", chain(t, factMail, base, set(swap(factAAR, "i=1", "i=2"), swap(factAMS, "i=1", "i=2"), swap(factAS, "i=1", "i=2"))), nil, Fail},
		{"cv_fail_i2_as2_na", chain(t, factMail, base, set(swap(factAAR, "i=1", "i=2"), swap(factAMS, "i=1", "i=2"), "")), nil, Fail},
		{"cv_fail_i2_as1_na", chain(t, factMail, set(factAAR, factAMS, ""), later("2")), nil, Fail},
		{"ams_struct_i_na", ams(" i=1;", ""), nil, Fail},
		{"ams_struct_i_empty", ams("i=1", "i="), nil, Fail},
		{"ams_struct_i_zero", ams("i=1", "i=0"), nil, Fail},
		{"ams_struct_i_invalid", ams("i=1", "i=a"), nil, Fail},
		{"ams_format_sc_wsp", ams("; c=relaxed/relaxed; d=", " ; c=relaxed/relaxed ;\r\n\td="), nil, Pass},
		{"ams_format_eq_wsp", ams("d=svc.plus", "d = svc.plus"), nil, Pass},
		{"ams_format_tags_trail_sc", ams("t=12345", "t=12345;"), nil, Pass},
		{"ams_format_tags_unknown", ams("t=12345", "t=12345; w=cat"), nil, Pass},
		{"ams_format_inv_tag_key", ams("s=rsa;", "s=rsa; ==;"), nil, Fail},
		{"ams_format_tags_dup", ams("s=rsa;", "s=rsa; s=rsa;"), nil, Fail},
		{"ams_format_tags_key_case", ams("h=from", "H=from"), nil, Fail},
		{"ams_format_tags_sc", ams("s=rsa;", "s=rsa;;"), nil, Fail},
		{"ams_fields_i_dup1", swap(good, "ARC-Message-Signature:", "ARC-Message-Signature: i=1; a=x\r\nARC-Message-Signature:"), nil, Fail},
		{"ams_fields_a_sha1", ams("rsa-sha256", "rsa-sha1"), nil, Fail},
		{"ams_fields_a_na", ams("a=rsa-sha256; ", ""), nil, Fail},
		{"ams_fields_a_empty", ams("rsa-sha256", ""), nil, Fail},
		{"ams_fields_a_unknown", ams("rsa-sha256", "rsa-pancake"), nil, Fail},
		{"ams_fields_b_head_case", changed("Subject:", "suBJECT:"), nil, Pass},
		{"ams_fields_b_head_unfold", changed("John Q Doe ", "John\r\n Q Doe\r\n\t"), nil, Pass},
		{"ams_fields_b_eol_wsp", changed("Example  1", "Example  1 \t "), nil, Pass},
		{"ams_fields_b_inl_wsp", changed("Example  1", "Example \t  1"), nil, Pass},
		{"ams_fields_b_col_wsp", changed("Subject: ", "Subject:  \t"), nil, Pass},
		{"ams_fields_b_na", ams("b={b}; ", ""), nil, Fail},
		{"ams_fields_b_empty", ams("{b}", ""), nil, Fail},
		{"ams_fields_b_base64", ams("{b}", "not==base64"), nil, Fail},
		{"ams_fields_b_mod_headers1", changed("Example  1", "Example  2"), nil, Fail},
		{"ams_fields_b_mod_headers2", changed("From: John", "From: Jon"), nil, Fail},
		{"ams_fields_bh_sim_base", ams("relaxed/relaxed", "relaxed/simple"), nil, Pass},
		{"ams_fields_bh_sim_end_lines", ams("relaxed/relaxed", "relaxed/simple") + "\r\n\r\n", nil, Pass},
		{"ams_fields_bh_sim_inl_wsp", swap(ams("relaxed/relaxed", "relaxed/simple"), "test  message", "test message"), nil, Fail},
		{"ams_fields_bh_rel_eol_wsp", changed("gang,\r\n", "gang, \t\r\n"), nil, Pass},
		{"ams_fields_bh_rel_inl_wsp", changed("test  message", "test \t message"), nil, Pass},
		{"ams_fields_bh_rel_end_lines", good + "\r\n\r\n", nil, Pass},
		{"ams_fields_bh_rel_trail_crlf", strings.TrimRight(good, "\r\n"), nil, Pass},
		{"ams_fields_bh_na", ams(" bh={bh};", ""), nil, Fail},
		{"ams_fields_bh_empty", ams("{bh}", ""), nil, Fail},
		{"ams_fields_bh_mod_body", changed("Hey gang", "Hey gong"), nil, Fail},
		{"ams_fields_c_empty", ams("c=relaxed/relaxed", "c="), nil, Fail},
		{"ams_fields_c_invalid", ams("c=relaxed/relaxed", "c=pancake/waffle"), nil, Fail},
		{"ams_fields_c_sr", ams("c=relaxed/relaxed", "c=simple/relaxed"), nil, Pass},
		{"ams_fields_c_ss", ams("c=relaxed/relaxed", "c=simple/simple"), nil, Pass},
		{"ams_fields_d_na", ams(" d=svc.plus;", ""), nil, Fail},
		{"ams_fields_d_empty", ams("d=svc.plus", "d="), nil, Fail},
		{"ams_fields_d_invalid", ams("d=svc.plus", "d=svc..."), nil, Fail},
		{"ams_fields_h_cws1", ams("from:to:date:", "from : to\r\n\t: date : "), nil, Pass},
		{"ams_fields_h_case", ams("from:to:date:", "From:tO:DATE:"), nil, Pass},
		{"ams_fields_h_non_existant", ams("mime-version", "mime-version:message-id"), nil, Pass},
		{"ams_fields_h_mis_hdr", ams("to:date", "to::date"), nil, Pass},
		{"ams_fields_h_includes_ams", chain(t, factMail, base, set(later("2").aar, swap(later("2").ams, "from:", "from:arc-message-signature:"), later("2").as)), nil, Pass},
		{"ams_fields_h_na", ams(" h=from:to:date:subject:mime-version;", ""), nil, Fail},
		{"ams_fields_h_empty_added", "Message-ID: <1@x>\r\n" + ams("mime-version", "mime-version:message-id"), nil, Fail},
		{"ams_fields_h_includes_as", chain(t, factMail, base, set(later("2").aar, swap(later("2").ams, "from:", "from:arc-seal:"), later("2").as)), nil, Fail},
		{"ams_fields_s_na", ams(" s=rsa;", ""), nil, Fail},
		{"ams_fields_s_empty", ams("s=rsa", "s="), nil, Fail},
		{"ams_fields_t_na", ams("; t=12345", ""), nil, Pass},
		{"ams_fields_t_invalid", ams("t=12345", "t=icecream"), nil, Fail},
		{"as_struct_i_na", as(" i=1;", ""), nil, Fail},
		{"as_struct_i_zero", as("i=1", "i=0"), nil, Fail},
		{"as_struct_i_invalid", as("i=1", "i=a"), nil, Fail},
		{"as_struct_dup", swap(good, "ARC-Seal:", "ARC-Seal: i=1; a=x\r\nARC-Seal:"), nil, Fail},
		{"as_format_sc_wsp", as("; d=svc.plus;", " ; d=svc.plus ;\r\n\t"), nil, Pass},
		{"as_format_eq_wsp", as("d=svc.plus", "d = svc.plus"), nil, Pass},
		{"as_format_tags_trail_sc", as("t=12345", "t=12345;"), nil, Pass},
		{"as_format_tags_unknown", as("t=12345", "t=12345; w=cat"), nil, Pass},
		{"as_format_inv_tag_key", as("s=rsa;", "s=rsa; ==;"), nil, Fail},
		{"as_format_tags_dup", as("s=rsa;", "s=rsa; s=rsa;"), nil, Fail},
		{"as_format_tags_key_case", as("cv=none", "CV=none"), nil, Fail},
		{"as_format_tags_sc", as("s=rsa;", "s=rsa;;"), nil, Fail},
		{"as_fields_a_sha1", as("rsa-sha256", "rsa-sha1"), nil, Fail},
		{"as_fields_a_empty", as("rsa-sha256", ""), nil, Fail},
		{"as_fields_b_head_case", changed("ARC-Authentication-Results:", "arc-authentication-RESULTS:"), nil, Pass},
		{"as_fields_b_head_unfold", changed("mx.svc.plus; spf", "mx.svc.plus;\r\n\tspf"), nil, Pass},
		{"as_fields_b_eol_wsp", changed("spf=pass; dmarc=pass", "spf=pass; dmarc=pass  "), nil, Pass},
		{"as_fields_b_na", as("b={b}; ", ""), nil, Fail},
		{"as_fields_b_empty", as("{b}", ""), nil, Fail},
		{"as_fields_b_512", good, small, Fail},
		{"as_fields_b_aar1", changed("spf=pass", "spf=fail"), nil, Fail},
		{"as_fields_cv_na", as(" cv=none;", ""), nil, Fail},
		{"as_fields_cv_empty", as("cv=none", "cv="), nil, Fail},
		{"as_fields_cv_invalid", as("cv=none", "cv=pancake"), nil, Fail},
		{"as_fields_d_empty", as("d=svc.plus", "d="), nil, Fail},
		{"as_fields_d_invalid", as("d=svc.plus", "d=svc..."), nil, Fail},
		{"as_fields_h_present", as("s=rsa;", "s=rsa; h=from;"), nil, Fail},
		{"as_fields_s_na", as(" s=rsa;", ""), nil, Fail},
		{"as_fields_t_na", as("; t=12345", ""), nil, Pass},
		{"as_fields_t_invalid", as("t=12345", "t=icecream"), nil, Fail},
		{"aar_struct_i_na", chain(t, factMail, set("mx.svc.plus; spf=pass", factAMS, factAS)), nil, Fail},
		{"aar_struct_i_zero", chain(t, factMail, set("i=0; mx.svc.plus; spf=pass", factAMS, factAS)), nil, Fail},
		{"aar_struct_missing", chain(t, factMail, set("", factAMS, factAS)), nil, Fail},
		{"aar_struct_dup", swap(good, "ARC-Authentication-Results:", "ARC-Authentication-Results: i=1; x\r\nARC-Authentication-Results:"), nil, Fail},
		{"aar_i_wrong", chain(t, factMail, set("i=2; mx.svc.plus; spf=pass", factAMS, factAS)), nil, Fail},
		{"aar_i_not_prefixed", chain(t, factMail, set("mx.svc.plus; i=1; spf=pass", factAMS, factAS)), nil, Fail},
		{"aar_i_no_semi", chain(t, factMail, set("i=1 mx.svc.plus; spf=pass", factAMS, factAS)), nil, Fail},
		{"public_key_na", good, gone, Fail},
		{"public_key_invalid", good, testZone("rsa._domainkey.svc.plus", "v=DKIM1; p=pancake"), Fail},
	} {
		lookup := c.zone
		if lookup == nil {
			lookup = zone
		}
		if a := VerifyARC(t.Context(), content(c.msg), lookup); a.Value != c.want {
			t.Errorf("%s: %s (%v), want %s", c.name, a.Value, a.Err, c.want)
		}
	}
}
