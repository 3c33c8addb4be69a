"""Tables that give the time zones of US states, Canadian provinces, area codes and ZIP prefixes.

If an area code or a ZIP prefix does not decide between the zones of its state, all zones of the
state are used. US zones that have the same time today are treated as one zone.

The area codes were checked on 2026-11-25 against the package ``phonenumbers`` 9.0.43. The states
and ZIP prefixes are from general knowledge, and were not checked.
"""

EASTERN = "America/New_York"
CENTRAL = "America/Chicago"
MOUNTAIN = "America/Denver"
ARIZONA = "America/Phoenix"
PACIFIC = "America/Los_Angeles"
ALASKA = "America/Anchorage"
ALEUTIANS = "America/Adak"
HAWAII = "Pacific/Honolulu"

ANYWHERE = (EASTERN, CENTRAL, MOUNTAIN, ARIZONA, PACIFIC, ALASKA, HAWAII)
"""The time zones of a person whose address and area code are unknown. A message is sent to such a
person only while messages are allowed in all these time zones."""

_NAMES = """
AL Alabama|AK Alaska|AZ Arizona|AR Arkansas|CA California|CO Colorado|CT Connecticut|DE Delaware
DC District of Columbia|FL Florida|GA Georgia|HI Hawaii|ID Idaho|IL Illinois|IN Indiana|IA Iowa
KS Kansas|KY Kentucky|LA Louisiana|ME Maine|MD Maryland|MA Massachusetts|MI Michigan|MN Minnesota
MS Mississippi|MO Missouri|MT Montana|NE Nebraska|NV Nevada|NH New Hampshire|NJ New Jersey
NM New Mexico|NY New York|NC North Carolina|ND North Dakota|OH Ohio|OK Oklahoma|OR Oregon
PA Pennsylvania|RI Rhode Island|SC South Carolina|SD South Dakota|TN Tennessee|TX Texas|UT Utah
VT Vermont|VA Virginia|WA Washington|WV West Virginia|WI Wisconsin|WY Wyoming|PR Puerto Rico
VI Virgin Islands|VI U.S. Virgin Islands|GU Guam|MP Northern Mariana Islands|AS American Samoa
FM Micronesia|FM Federated States of Micronesia|MH Marshall Islands|PW Palau
DC Washington DC|WA Washington State|AB Alberta|BC British Columbia|MB Manitoba|NB New Brunswick
NL Newfoundland and Labrador|NL Newfoundland|NS Nova Scotia|NT Northwest Territories|NU Nunavut
ON Ontario|PE Prince Edward Island|QC Quebec|QC Québec|SK Saskatchewan|YT Yukon
"""

_ABBREVIATIONS = """
AL Ala|AK Alas|AZ Ariz|AR Ark|CA Calif|CA Cal|CO Colo|CT Conn|DE Del|FL Fla|ID Ida|IL Ill
IL Ills|IN Ind|KS Kan|KS Kans|MA Mass|MI Mich|MN Minn|MS Miss|MT Mont
NE Neb|NE Nebr|NV Nev|NH N H|NJ N J|NM N M|NM N Mex|NM New Mex|NY N Y|NC N C|NC N Car|NC No Car
NC N Carolina|NC No Carolina|ND N D|ND N Dak|ND No Dak|ND N Dakota|OK Okla|OR Ore|OR Oreg
PA Penn|PA Penna|RI R I|RI Rhode Isl|SC S C|SC S Car|SC So Car|SC S Carolina|SC So Carolina|SD S D
SD S Dak|SD So Dak|SD S Dakota|TN Tenn|TX Tex|VT Verm|WA Wash|WV W V|WV W Va|WV West Va
WV W Virginia|WI Wis|WI Wisc|WY Wyo|DC D C|DC Dist of Columbia|DC Wash DC|DC Washington D C
PR P R|PR Porto Rico|VI US Virgin Islands|VI USVI|VI V I|MP CNMI|AS Am Samoa
ON Ont|QC Que|QC PQ|BC B C|AB Alta|SK Sask|MB Man|NB N B|NS N S|PE P E I|PE PEI|NL Nfld|YT Yuk
"""
"""Usual abbreviations of the names of states and provinces, without full stops.

Abbreviations that fit two states (``Car``, ``Dak``) are left out.
"""


def _table(text: str) -> list[tuple[str, str]]:
    """Split ``KEY value|KEY value``, on one or several lines, into pairs of key and value."""
    entries = text.strip().replace("\n", "|").split("|")
    return [(key, value) for key, _, value in (entry.partition(" ") for entry in entries)]


_ARMED_FORCES = "AA Armed Forces Americas|AE Armed Forces Europe|AP Armed Forces Pacific"
STATE_NAMES: dict[str, str] = {
    name.casefold(): code
    for names in (_NAMES, _ABBREVIATIONS, _ARMED_FORCES)
    for code, name in _table(names)
}
"""The code of a state or province, by its lower-case name or abbreviation without full stops."""
ARMED_FORCES_ZONES = {
    "AA": ("America/Sao_Paulo",),
    "AE": ("Europe/London", "Europe/Berlin", "Asia/Dubai"),
    "AP": ("Asia/Singapore", "Asia/Tokyo", "Pacific/Guam"),
}
"""Time zones of the post offices of the armed forces, by the code in the address. A person with
such an address may also be in any time zone of ``ANYWHERE``. So it can happen that no hour is legal
in all these zones. Then the contact needs a time zone."""

_ONE_ZONE = {
    EASTERN: "CT DC DE GA MA MD ME NC NH NJ NY OH PA RI SC VA VT WV",
    CENTRAL: "AL AR IA IL LA MN MO MS OK WI",
    MOUNTAIN: "CO MT NM UT WY",
    PACIFIC: "CA WA",
    HAWAII: "HI",
    "America/Puerto_Rico": "PR VI",
    "Pacific/Guam": "GU MP",
    "Pacific/Pago_Pago": "AS",
    "Pacific/Palau": "PW",
    "America/Halifax": "NB NS PE",
    "America/Winnipeg": "MB",
    "America/Edmonton": "AB NT",
    "America/Whitehorse": "YT",
}
STATE_ZONES: dict[str, tuple[str, ...]] = {
    **{state: (zone,) for zone, states in _ONE_ZONE.items() for state in states.split()},
    **dict.fromkeys(("FL", "IN", "KY", "MI", "TN"), (EASTERN, CENTRAL)),
    **dict.fromkeys(("KS", "NE", "ND", "SD", "TX"), (CENTRAL, MOUNTAIN)),
    **dict.fromkeys(("ID", "NV", "OR"), (MOUNTAIN, PACIFIC)),
    # In Arizona, only the Navajo Nation uses daylight saving time.
    "AZ": (ARIZONA, MOUNTAIN),
    "AK": (ALASKA, ALEUTIANS),
    "FM": ("Pacific/Chuuk", "Pacific/Pohnpei", "Pacific/Kosrae"),
    "MH": ("Pacific/Majuro", "Pacific/Kwajalein"),
    "BC": ("America/Vancouver", "America/Edmonton"),
    "NL": ("America/St_Johns", "America/Halifax"),
    "NU": ("America/Toronto", "America/Winnipeg", "America/Edmonton"),
    "ON": ("America/Toronto", "America/Winnipeg"),
    "QC": ("America/Toronto", "America/Halifax"),
    "SK": ("America/Regina", "America/Edmonton"),
}
"""The time zones of each state or province, by its code."""

# ZIP prefixes in states with two time zones. The comment after each line lists the states.
_SPLIT_STATE_PREFIXES = {
    EASTERN: (
        "320-323 326-349 460-462 466-468 470-474 478 400 402-418 "  # FL IN KY
        "374 376 379 480-497"  # TN MI
    ),
    CENTRAL: (
        "325 463-464 476-477 420-424 370-372 375 380-385 "  # FL IN KY TN
        "733 750-797 660-676 679 680-689 570-574 580-584 587"  # TX KS NE SD ND
    ),
    MOUNTAIN: "799 885 693 577 832-834 836-837",  # TX NE SD ID
    PACIFIC: "838 970-978 889-897",  # ID OR NV
    ARIZONA: "850-857 859 863-864",
    ALASKA: "996-999",
}


def _expand(ranges: str) -> list[str]:
    """Expand ``320-322 325`` to 320, 321, 322, 325."""
    prefixes = []
    for part in ranges.split():
        first, _, last = part.partition("-")
        prefixes += [f"{number:03d}" for number in range(int(first), int(last or first) + 1)]
    return prefixes


ZIP_ZONES: dict[str, str] = {
    prefix: zone for zone, ranges in _SPLIT_STATE_PREFIXES.items() for prefix in _expand(ranges)
}
"""The time zone by ZIP prefix (the first three digits), in states with two time zones.

A prefix is left out if its area has both time zones, or if its time zone is uncertain. A person
with such a prefix may be in either time zone of the state.
"""

_ZIP_STATES = """
AK 995-999|AL 350-369|AR 716-729|AZ 850-865|CA 900-961|CO 800-816|CT 060-069|DC 200 202-205
DE 197-199|FL 320-339|GA 300-319 398-399|HI 967-968|IA 500-528|ID 832-838|IL 600-629|IN 460-479
KS 660-679|KY 400-427|LA 700-714|MA 010-027|MD 206-219|ME 039-049|MI 480-499|MN 550-567
MO 630-658|MS 386-397|MT 590-599|NC 270-289|ND 580-588|NE 680-693|NH 030-038|NJ 070-089
NM 870-884|NV 889-898|NY 005 100-149|OH 430-459|OK 730-732 734-749|OR 970-979|PA 150-196
PR 006-007 009|RI 028-029|SC 290-299|SD 570-577|TN 370-385|TX 733 750-799 885|UT 840-847
VA 201 220-246|VI 008|VT 050-054 056-059|WA 980-994|WI 530-549|WV 247-268|WY 820-831
"""
ZIP_STATES: dict[str, str] = {
    prefix: state for state, ranges in _table(_ZIP_STATES) for prefix in _expand(ranges)
} | dict.fromkeys(_expand("341-342 344 346-347 349"), "FL")
"""The state by ZIP prefix (the first three digits). Prefixes of the armed forces and of the Pacific
islands are missing."""
MILITARY_ZIPS = {
    prefix: code
    for code, ranges in {"AA": "340", "AE": "090-098", "AP": "962-966"}.items()
    for prefix in _expand(ranges)
}
"""The code of the armed forces (see ``ARMED_FORCES_ZONES``) by ZIP prefix."""

_AREA_CODES = """
AK 907|AL 205 251 256 334 659 938|AR 327 479 501 870|AZ 480 520 602 623 928
CA 209 213 279 310 323 341 350 357 369 408 415 424 442 510 530 559 562 619 626 628 650 657 661
CA 669 707 714 738 747 760 805 818 820 831 837 840 858 909 916 925 949 951
CO 303 719 720 748 970 983|CT 203 475 860 959|DC 202 771|DE 302
FL 239 305 321 324 352 386 407 448 561 645 656 689 727 728 754 772 786 813 850 863 904 941 954
GA 229 404 470 478 678 706 762 770 912 943|HI 808|IA 319 515 563 641 712|ID 208 986
IL 217 224 309 312 331 447 464 618 630 708 730 773 779 815 847 861 872
IN 219 260 317 463 574 765 812 930|KS 316 620 785 913|KY 270 364 502 606 859
LA 225 318 337 457 504 985|MA 339 351 413 508 617 774 781 857 978|MD 227 240 301 410 443 667
ME 207|MI 231 248 269 313 517 586 616 679 734 810 906 947 989|MN 218 320 507 612 651 763 924 952
MO 235 314 417 557 573 636 660 816 975|MS 228 471 601 662 769|MT 406
NC 252 336 472 704 743 828 910 919 980 984|ND 701|NE 308 402 531|NH 603
NJ 201 551 609 640 732 848 856 862 908 973|NM 505 575|NV 702 725 775
NY 212 315 329 332 347 363 465 516 518 585 607 624 631 646 680 716 718 838 845 914 917 929 934
OH 216 220 234 283 326 330 380 419 436 440 513 567 614 740 937|OK 405 539 572 580 918
OR 458 503 541 971|PA 215 223 267 272 412 445 484 570 582 610 717 724 814 835 878|RI 401
SC 803 821 839 843 854 864|SD 605|TN 423 615 629 731 865 901 931
TX 210 214 254 281 325 346 361 409 430 432 469 512 621 682 713 726 737 806 817 830 832 903 915
TX 936 940 945 956 972 979
UT 385 435 801|VA 276 434 540 571 686 703 757 804 826 948|VT 802|WA 206 253 360 425 509 564
WI 262 274 353 414 534 608 715 920|WV 304 681|WY 307|PR 787 939|VI 340|GU 671|MP 670|AS 684
AB 368 403 587 780 825|BC 236 250 257 604 672 778|MB 204 431 584|NB 428 506|NL 709 879
NS 782 902|SK 306 474 639
ON 226 249 289 343 365 382 416 437 460 519 548 613 647 683 705 742 753 807 905 942
QC 263 273 354 367 418 438 450 468 514 579 581 819 873
"""
AREA_CODE_STATES: dict[str, str] = {
    code: state for state, codes in _table(_AREA_CODES) for code in codes.split()
}
"""The state or province by area code. 782 and 902 also serve Prince Edward Island. 867 is left out,
because it serves three territories."""

_ONE_ZONE_AREA_CODES = {
    EASTERN: (
        "239 305 321 324 352 386 407 561 645 656 689 727 728 754 772 786 813 863 904 941 954 "
        "260 317 463 502 859 248 313 517 586 616 679 734 810 947 989 231 269 865"
    ),
    CENTRAL: (
        "615 629 731 901 316 913 402 531 210 214 254 281 325 346 361 409 430 469 512 621 682 713 "
        "726 737 806 817 830 832 903 936 940 945 956 972 979"
    ),
    MOUNTAIN: "915",
    PACIFIC: "503 971 702 725",
    ARIZONA: "480 520 602 623",
    "America/Vancouver": "604",
    "America/Toronto": (
        "416 437 647 905 289 365 742 226 519 548 382 613 343 514 438 450 579 263 354"
    ),
}
ONE_ZONE_AREA_CODES: dict[str, str] = {
    code: zone for zone, codes in _ONE_ZONE_AREA_CODES.items() for code in codes.split()
}
"""The time zone by area code, in states with two time zones. An area code is included only if its
area is completely in one time zone."""
