"""Words that decide whether a dot ends a sentence: in English, German, French, Spanish, Italian,
Portuguese and Dutch, all at once, since a corpus need not say which it is in.

In lower case; a word may stand in one list for one language and in another for the next.
"""

#: Names and the like follow: the dot never ends a sentence.
HARD = """
mr mrs ms mx dr prof rev hon gen col maj capt lt sgt cpl sen rep gov pres amb messrs mme mlle mm st
ste mt ft vs viz cf e.g i.e eg ie al approx dept est univ assn bros sr.ta sra srta sig sigg dott
dra dres dna d.h z.b u.a s.o s.u o.ä i.d.r bzw ca evtl ggf hrsg inkl vgl usw.a zzgl geb gest
ev kath hl hr fr frl dipl ing mag phil med bd etw o.g u.u v.a p.ex par.ex p.e ej p.ej pág
págs núm art.o tel fax av avda bd.e arq ud uds exmo exma ilmo dhr mevr mw bijv nl m.b.t o.a
i.p.v blz resp mgr ir drs ds
"""

#: A number follows.
NUMBERED = """
no nos nr nrs p pp pg pgs s ss fig figs eq eqs sec sect ch chap vol vols art arts par para ed
app tab abb kap bd abs ziff rn n n° nº num núm op cap lib pl sch cl c v vv f ff fol
"""

#: A sentence may end with them: it does before a word that begins sentences.
SOFT = """
etc inc corp co ltd llc plc gmbh ag sa s.a jr sr esq ph.d m.d b.a m.a d.c u.s u.k u.n e.u a.m p.m
a.d b.c usw u.s.w etc. cie ltda bv n.v b.v cía s.l s.p.a s.r.l
jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri sat sun
ave blvd rd hwy
"""

#: Words that begin sentences far more often than names.
STARTERS = """
the this that these those there here it its he she they we i you his her their our my your a an in
on at for from with by as to of if when while what how why who where which after before during
since although though however but and or so some many most all both each no not yes one two three
another other such also then thus did do does is are was were can could will would have has had
der die das den dem des ein eine einen einem einer er sie es wir ich ihr im am auf mit von für nach
bei und aber oder wenn als auch nur nicht so zu zum zur diese dieser dieses
le la les un une des il elle ils elles nous vous je ce cet cette ces dans en sur pour avec par mais
et ou si on du au aux
el los las una unos unas por para con pero se su sus al del es no y o
lo gli uno nel nella per ma anche si è e non
os as um uma em no na nos nas com mas seu sua ele ela
de het een hij zij ze wij op met voor maar van er dit deze dat bij naar ook niet
"""

#: A day's number with a dot stands before them.
FOLLOWERS = """
januar jänner februar märz april mai juni juli august september oktober november dezember
jahrhundert jahrhunderts jh
"""
