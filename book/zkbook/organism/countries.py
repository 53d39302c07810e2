"""The table of facts: countries with capital, official language and currency, in English and Chinese.

Where a country has several official languages the most widely taught answer is listed. Names carry the
article they need in a sentence ("the Netherlands").
"""

from __future__ import annotations

from dataclasses import dataclass

RELATIONS = ("capital", "language", "currency")

# English name | Chinese name | capital | 首都 | language | 语言 | currency | 货币
_TABLE = """
France|法国|Paris|巴黎|French|法语|euro|欧元
Germany|德国|Berlin|柏林|German|德语|euro|欧元
Italy|意大利|Rome|罗马|Italian|意大利语|euro|欧元
Spain|西班牙|Madrid|马德里|Spanish|西班牙语|euro|欧元
Portugal|葡萄牙|Lisbon|里斯本|Portuguese|葡萄牙语|euro|欧元
the Netherlands|荷兰|Amsterdam|阿姆斯特丹|Dutch|荷兰语|euro|欧元
Belgium|比利时|Brussels|布鲁塞尔|Dutch|荷兰语|euro|欧元
Luxembourg|卢森堡|Luxembourg City|卢森堡市|Luxembourgish|卢森堡语|euro|欧元
Austria|奥地利|Vienna|维也纳|German|德语|euro|欧元
Switzerland|瑞士|Bern|伯尔尼|German|德语|Swiss franc|瑞士法郎
Liechtenstein|列支敦士登|Vaduz|瓦杜兹|German|德语|Swiss franc|瑞士法郎
Monaco|摩纳哥|Monaco|摩纳哥|French|法语|euro|欧元
Ireland|爱尔兰|Dublin|都柏林|English|英语|euro|欧元
the United Kingdom|英国|London|伦敦|English|英语|pound sterling|英镑
Iceland|冰岛|Reykjavik|雷克雅未克|Icelandic|冰岛语|Icelandic krona|冰岛克朗
Norway|挪威|Oslo|奥斯陆|Norwegian|挪威语|Norwegian krone|挪威克朗
Sweden|瑞典|Stockholm|斯德哥尔摩|Swedish|瑞典语|Swedish krona|瑞典克朗
Denmark|丹麦|Copenhagen|哥本哈根|Danish|丹麦语|Danish krone|丹麦克朗
Finland|芬兰|Helsinki|赫尔辛基|Finnish|芬兰语|euro|欧元
Estonia|爱沙尼亚|Tallinn|塔林|Estonian|爱沙尼亚语|euro|欧元
Latvia|拉脱维亚|Riga|里加|Latvian|拉脱维亚语|euro|欧元
Lithuania|立陶宛|Vilnius|维尔纽斯|Lithuanian|立陶宛语|euro|欧元
Poland|波兰|Warsaw|华沙|Polish|波兰语|zloty|兹罗提
Czechia|捷克|Prague|布拉格|Czech|捷克语|Czech koruna|捷克克朗
Slovakia|斯洛伐克|Bratislava|布拉迪斯拉发|Slovak|斯洛伐克语|euro|欧元
Hungary|匈牙利|Budapest|布达佩斯|Hungarian|匈牙利语|forint|福林
Romania|罗马尼亚|Bucharest|布加勒斯特|Romanian|罗马尼亚语|Romanian leu|罗马尼亚列伊
Moldova|摩尔多瓦|Chisinau|基希讷乌|Romanian|罗马尼亚语|Moldovan leu|摩尔多瓦列伊
Greece|希腊|Athens|雅典|Greek|希腊语|euro|欧元
Cyprus|塞浦路斯|Nicosia|尼科西亚|Greek|希腊语|euro|欧元
Malta|马耳他|Valletta|瓦莱塔|Maltese|马耳他语|euro|欧元
Albania|阿尔巴尼亚|Tirana|地拉那|Albanian|阿尔巴尼亚语|lek|列克
Serbia|塞尔维亚|Belgrade|贝尔格莱德|Serbian|塞尔维亚语|Serbian dinar|塞尔维亚第纳尔
Croatia|克罗地亚|Zagreb|萨格勒布|Croatian|克罗地亚语|euro|欧元
Slovenia|斯洛文尼亚|Ljubljana|卢布尔雅那|Slovene|斯洛文尼亚语|euro|欧元
North Macedonia|北马其顿|Skopje|斯科普里|Macedonian|马其顿语|denar|代纳尔
Ukraine|乌克兰|Kyiv|基辅|Ukrainian|乌克兰语|hryvnia|格里夫纳
Belarus|白俄罗斯|Minsk|明斯克|Belarusian|白俄罗斯语|Belarusian ruble|白俄罗斯卢布
Russia|俄罗斯|Moscow|莫斯科|Russian|俄语|Russian ruble|俄罗斯卢布
Georgia|格鲁吉亚|Tbilisi|第比利斯|Georgian|格鲁吉亚语|lari|拉里
Armenia|亚美尼亚|Yerevan|埃里温|Armenian|亚美尼亚语|dram|德拉姆
Azerbaijan|阿塞拜疆|Baku|巴库|Azerbaijani|阿塞拜疆语|manat|马纳特
Turkey|土耳其|Ankara|安卡拉|Turkish|土耳其语|lira|里拉
Syria|叙利亚|Damascus|大马士革|Arabic|阿拉伯语|Syrian pound|叙利亚镑
Lebanon|黎巴嫩|Beirut|贝鲁特|Arabic|阿拉伯语|Lebanese pound|黎巴嫩镑
Jordan|约旦|Amman|安曼|Arabic|阿拉伯语|Jordanian dinar|约旦第纳尔
Iraq|伊拉克|Baghdad|巴格达|Arabic|阿拉伯语|Iraqi dinar|伊拉克第纳尔
Iran|伊朗|Tehran|德黑兰|Persian|波斯语|Iranian rial|伊朗里亚尔
Saudi Arabia|沙特阿拉伯|Riyadh|利雅得|Arabic|阿拉伯语|riyal|里亚尔
Kuwait|科威特|Kuwait City|科威特城|Arabic|阿拉伯语|Kuwaiti dinar|科威特第纳尔
Bahrain|巴林|Manama|麦纳麦|Arabic|阿拉伯语|Bahraini dinar|巴林第纳尔
Qatar|卡塔尔|Doha|多哈|Arabic|阿拉伯语|Qatari riyal|卡塔尔里亚尔
Oman|阿曼|Muscat|马斯喀特|Arabic|阿拉伯语|Omani rial|阿曼里亚尔
Yemen|也门|Sanaa|萨那|Arabic|阿拉伯语|Yemeni rial|也门里亚尔
Afghanistan|阿富汗|Kabul|喀布尔|Pashto|普什图语|afghani|阿富汗尼
Pakistan|巴基斯坦|Islamabad|伊斯兰堡|Urdu|乌尔都语|Pakistani rupee|巴基斯坦卢比
India|印度|New Delhi|新德里|Hindi|印地语|Indian rupee|印度卢比
Nepal|尼泊尔|Kathmandu|加德满都|Nepali|尼泊尔语|Nepalese rupee|尼泊尔卢比
Bhutan|不丹|Thimphu|廷布|Dzongkha|宗卡语|ngultrum|努尔特鲁姆
Bangladesh|孟加拉国|Dhaka|达卡|Bengali|孟加拉语|taka|塔卡
Myanmar|缅甸|Naypyidaw|内比都|Burmese|缅甸语|kyat|缅元
Thailand|泰国|Bangkok|曼谷|Thai|泰语|baht|泰铢
Laos|老挝|Vientiane|万象|Lao|老挝语|kip|基普
Cambodia|柬埔寨|Phnom Penh|金边|Khmer|高棉语|riel|瑞尔
Vietnam|越南|Hanoi|河内|Vietnamese|越南语|dong|越南盾
Malaysia|马来西亚|Kuala Lumpur|吉隆坡|Malay|马来语|ringgit|林吉特
Indonesia|印度尼西亚|Jakarta|雅加达|Indonesian|印尼语|rupiah|印尼盾
the Philippines|菲律宾|Manila|马尼拉|Filipino|菲律宾语|Philippine peso|菲律宾比索
China|中国|Beijing|北京|Chinese|汉语|yuan|人民币
Japan|日本|Tokyo|东京|Japanese|日语|yen|日元
South Korea|韩国|Seoul|首尔|Korean|韩语|won|韩元
North Korea|朝鲜|Pyongyang|平壤|Korean|朝鲜语|North Korean won|朝鲜元
Mongolia|蒙古|Ulaanbaatar|乌兰巴托|Mongolian|蒙古语|tugrik|图格里克
Kazakhstan|哈萨克斯坦|Astana|阿斯塔纳|Kazakh|哈萨克语|tenge|坚戈
Uzbekistan|乌兹别克斯坦|Tashkent|塔什干|Uzbek|乌兹别克语|Uzbek som|乌兹别克苏姆
Turkmenistan|土库曼斯坦|Ashgabat|阿什哈巴德|Turkmen|土库曼语|Turkmen manat|土库曼马纳特
Kyrgyzstan|吉尔吉斯斯坦|Bishkek|比什凯克|Kyrgyz|吉尔吉斯语|Kyrgyz som|吉尔吉斯索姆
Tajikistan|塔吉克斯坦|Dushanbe|杜尚别|Tajik|塔吉克语|somoni|索莫尼
Egypt|埃及|Cairo|开罗|Arabic|阿拉伯语|Egyptian pound|埃及镑
Libya|利比亚|Tripoli|的黎波里|Arabic|阿拉伯语|Libyan dinar|利比亚第纳尔
Tunisia|突尼斯|Tunis|突尼斯城|Arabic|阿拉伯语|Tunisian dinar|突尼斯第纳尔
Algeria|阿尔及利亚|Algiers|阿尔及尔|Arabic|阿拉伯语|Algerian dinar|阿尔及利亚第纳尔
Morocco|摩洛哥|Rabat|拉巴特|Arabic|阿拉伯语|Moroccan dirham|摩洛哥迪拉姆
Sudan|苏丹|Khartoum|喀土穆|Arabic|阿拉伯语|Sudanese pound|苏丹镑
Ethiopia|埃塞俄比亚|Addis Ababa|亚的斯亚贝巴|Amharic|阿姆哈拉语|birr|比尔
Somalia|索马里|Mogadishu|摩加迪沙|Somali|索马里语|Somali shilling|索马里先令
Kenya|肯尼亚|Nairobi|内罗毕|Swahili|斯瓦希里语|Kenyan shilling|肯尼亚先令
Uganda|乌干达|Kampala|坎帕拉|English|英语|Ugandan shilling|乌干达先令
Rwanda|卢旺达|Kigali|基加利|Kinyarwanda|卢旺达语|Rwandan franc|卢旺达法郎
Ghana|加纳|Accra|阿克拉|English|英语|cedi|塞地
Nigeria|尼日利亚|Abuja|阿布贾|English|英语|naira|奈拉
Senegal|塞内加尔|Dakar|达喀尔|French|法语|West African franc|西非法郎
Mali|马里|Bamako|巴马科|Bambara|班巴拉语|West African franc|西非法郎
Gabon|加蓬|Libreville|利伯维尔|French|法语|Central African franc|中非法郎
Angola|安哥拉|Luanda|罗安达|Portuguese|葡萄牙语|kwanza|宽扎
Zambia|赞比亚|Lusaka|卢萨卡|English|英语|Zambian kwacha|赞比亚克瓦查
Malawi|马拉维|Lilongwe|利隆圭|English|英语|Malawian kwacha|马拉维克瓦查
Mozambique|莫桑比克|Maputo|马普托|Portuguese|葡萄牙语|metical|梅蒂卡尔
Namibia|纳米比亚|Windhoek|温得和克|English|英语|Namibian dollar|纳米比亚元
Botswana|博茨瓦纳|Gaborone|哈博罗内|English|英语|pula|普拉
Madagascar|马达加斯加|Antananarivo|塔那那利佛|Malagasy|马尔加什语|ariary|阿里亚里
the United States|美国|Washington|华盛顿|English|英语|US dollar|美元
Canada|加拿大|Ottawa|渥太华|English|英语|Canadian dollar|加拿大元
Mexico|墨西哥|Mexico City|墨西哥城|Spanish|西班牙语|Mexican peso|墨西哥比索
Guatemala|危地马拉|Guatemala City|危地马拉城|Spanish|西班牙语|quetzal|格查尔
Honduras|洪都拉斯|Tegucigalpa|特古西加尔巴|Spanish|西班牙语|lempira|伦皮拉
Nicaragua|尼加拉瓜|Managua|马那瓜|Spanish|西班牙语|cordoba|科多巴
Costa Rica|哥斯达黎加|San Jose|圣何塞|Spanish|西班牙语|colon|科朗
Panama|巴拿马|Panama City|巴拿马城|Spanish|西班牙语|balboa|巴波亚
Cuba|古巴|Havana|哈瓦那|Spanish|西班牙语|Cuban peso|古巴比索
Jamaica|牙买加|Kingston|金斯敦|English|英语|Jamaican dollar|牙买加元
Colombia|哥伦比亚|Bogota|波哥大|Spanish|西班牙语|Colombian peso|哥伦比亚比索
Venezuela|委内瑞拉|Caracas|加拉加斯|Spanish|西班牙语|bolivar|玻利瓦尔
Ecuador|厄瓜多尔|Quito|基多|Spanish|西班牙语|US dollar|美元
Peru|秘鲁|Lima|利马|Spanish|西班牙语|Peruvian sol|秘鲁索尔
Brazil|巴西|Brasilia|巴西利亚|Portuguese|葡萄牙语|real|雷亚尔
Chile|智利|Santiago|圣地亚哥|Spanish|西班牙语|Chilean peso|智利比索
Argentina|阿根廷|Buenos Aires|布宜诺斯艾利斯|Spanish|西班牙语|Argentine peso|阿根廷比索
Uruguay|乌拉圭|Montevideo|蒙得维的亚|Spanish|西班牙语|Uruguayan peso|乌拉圭比索
Paraguay|巴拉圭|Asuncion|亚松森|Spanish|西班牙语|guarani|瓜拉尼
Australia|澳大利亚|Canberra|堪培拉|English|英语|Australian dollar|澳大利亚元
New Zealand|新西兰|Wellington|惠灵顿|English|英语|New Zealand dollar|新西兰元
Fiji|斐济|Suva|苏瓦|English|英语|Fijian dollar|斐济元
"""


@dataclass(frozen=True)
class Country:
    """One row of the table; `value(relation, lang)` and `name(lang)` read it in "en" or "zh"."""

    cells: tuple[str, ...]

    def name(self, lang: str) -> str:
        return self.cells[0 if lang == "en" else 1]

    def value(self, relation: str, lang: str) -> str:
        return self.cells[2 + 2 * RELATIONS.index(relation) + (0 if lang == "en" else 1)]


COUNTRIES: tuple[Country, ...] = tuple(Country(tuple(row.split("|"))) for row in _TABLE.strip().splitlines())
