// Ransom notes: what they say, in combination. English only.

rule Ransom_Note : ransomware
{
    meta:
        description = "Text that says files were encrypted, demands payment and names a hidden service or a wallet"
        verdict = "malicious"
        family = "Ransom-Note"
        confidence = 75
        heuristic = true
        author = "psengine-yara"
        date = "2026-11-25"
    strings:
        $locked1 = /\b(all )?(of )?your (important |personal )?(files|documents|data|network|databases|systems)( [a-z, ]{1,60})? (are|were|have been|has been|is) (now )?(encrypted|locked)/i ascii wide
        $locked2 = /\bwe (have )?(encrypted|locked) (all )?(of )?your\b/i ascii wide
        $pay1 = /\b(bitcoins?|btc|monero|xmr)\b/i ascii wide
        $pay2 = /\b(ransom|payment|pay (us|the)|buy (the |our )?decrypt(or|ion))\b/i ascii wide
        $contact1 = /\b[a-z2-7]{56}\.onion\b/i ascii wide
        $contact2 = /\b[a-z2-7]{16}\.onion\b/i ascii wide
        $contact3 = /\btor browser\b/i ascii wide
        $contact4 = /\b(bc1[a-z0-9]{38,58}|[13][1-9A-HJ-NP-Za-km-z]{32,33})\b/ ascii wide
        $warn1 = /\bdo(n'?t| not) (try to )?(rename|modify|decrypt|delete|use (any )?third[- ]party)/i ascii wide
        $warn2 = /\b(will be (published|leaked|sold|deleted|destroyed)|price (will )?(be )?doubl)/i ascii wide
        $warn3 = /\b(within|in|after) [0-9]{1,3} (hours|days)\b/i ascii wide
        $proof = /\b(decrypt|recover|restore) (one|1|two|2|three|3|a few|up to [0-9]) (test )?(files?|documents?) (for )?free/i ascii wide
    condition:
        filesize < 512KB and any of ($locked*) and $pay1 and $pay2 and any of ($contact*) and
        2 of ($warn*, $proof)
}
