"""Currencies: the active alphabetic codes of ISO 4217 and the digits of their minor units.

Source: ISO 4217 list one (`list-one.xml`) of the maintenance agency, SIX, as published on
2026-01-01; the codes agree with those of Debian's iso-codes. It knows the Caribbean guilder (XCG)
and no longer the kuna (HRK), the lev (BGN) or the Antillean guilder (ANG).

Left out are the codes of that list that have no minor unit because they aren't money that anyone
pays with: metals, bond market units, SDR, ADB unit, sucre, tests and "no currency"
(XAG, XAU, XBA, XBB, XBC, XBD, XDR, XPD, XPT, XSU, XTS, XUA, XXX).
"""

_CODES_BY_DIGITS = {
    0: """
        BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF
    """,
    2: """
        AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP
        BYN BZD CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB
        EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES
        KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR
        MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD
        RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP
        TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG
    """,
    3: """
        BHD IQD JOD KWD LYD OMR TND
    """,
    4: """
        CLF UYW
    """,
}

MINOR_DIGITS: dict[str, int] = {
    code: digits for digits, codes in _CODES_BY_DIGITS.items() for code in codes.split()
}
"""Decimals of a currency's smallest unit: 2 for EUR, 0 for JPY, 3 for KWD."""

CURRENCIES: frozenset[str] = frozenset(MINOR_DIGITS)
"""Every code that an amount may be in, in capitals."""
