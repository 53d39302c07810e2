"""The words behind relations and logic: categories with their members, opposites, parts with their wholes, people.

Rows are English | Chinese, translations of each other; every word belongs to one category and has one answer.
"""

from __future__ import annotations

from dataclasses import dataclass

# category: members
_CATEGORIES = """
bird|鸟: robin|知更鸟 sparrow|麻雀 eagle|老鹰 owl|猫头鹰 crow|乌鸦 swan|天鹅 parrot|鹦鹉 pigeon|鸽子
fish|鱼: trout|鳟鱼 salmon|三文鱼 shark|鲨鱼 tuna|金枪鱼 carp|鲤鱼 cod|鳕鱼 eel|鳗鱼 sardine|沙丁鱼
insect|昆虫: ant|蚂蚁 bee|蜜蜂 butterfly|蝴蝶 mosquito|蚊子 beetle|甲虫 moth|飞蛾 wasp|黄蜂 dragonfly|蜻蜓
fruit|水果: apple|苹果 pear|梨 banana|香蕉 grape|葡萄 peach|桃子 plum|李子 cherry|樱桃 lemon|柠檬
vegetable|蔬菜: carrot|胡萝卜 onion|洋葱 potato|土豆 cabbage|白菜 cucumber|黄瓜 lettuce|生菜 pumpkin|南瓜 eggplant|茄子
tree|树: oak|橡树 pine|松树 willow|柳树 maple|枫树 birch|桦树 poplar|杨树 elm|榆树 cedar|雪松
flower|花: rose|玫瑰 tulip|郁金香 daisy|雏菊 sunflower|向日葵 lotus|荷花 orchid|兰花 peony|牡丹 daffodil|水仙
tool|工具: hammer|锤子 saw|锯子 drill|电钻 axe|斧头 wrench|扳手 shovel|铲子 chisel|凿子 screwdriver|螺丝刀
furniture|家具: chair|椅子 table|桌子 bed|床 sofa|沙发 desk|书桌 wardrobe|衣柜 bookcase|书架 stool|凳子
instrument|乐器: piano|钢琴 guitar|吉他 violin|小提琴 drum|鼓 flute|长笛 trumpet|小号 harp|竖琴 cello|大提琴
vehicle|车辆: car|汽车 bus|公交车 truck|卡车 taxi|出租车 tractor|拖拉机 bicycle|自行车 motorcycle|摩托车 jeep|吉普车
clothing|衣服: shirt|衬衫 coat|大衣 skirt|裙子 jacket|夹克 sweater|毛衣 dress|连衣裙 vest|背心 sock|袜子
"""

# a word|its opposite, English then Chinese
_OPPOSITES = """
hot cold 热 冷|big small 大 小|long short 长 短|high low 高 低|fast slow 快 慢|new old 新 旧
heavy light 重 轻|bright dark 亮 暗|good bad 好 坏|rich poor 富有 贫穷|happy sad 快乐 悲伤|open closed 开 关
full empty 满 空|hard soft 硬 软|easy difficult 容易 困难|wet dry 湿 干|clean dirty 干净 肮脏|early late 早 晚
strong weak 强 弱|thick thin 厚 薄|wide narrow 宽 窄|deep shallow 深 浅|near far 近 远|loud quiet 吵闹 安静
sweet bitter 甜 苦|left right 左 右|true false 真 假|up down 上 下|inside outside 里 外|north south 北 南
east west 东 西|day night 白天 黑夜|black white 黑 白|begin end 开始 结束|win lose 赢 输|buy sell 买 卖
love hate 爱 恨|front back 前 后|safe dangerous 安全 危险|cheap expensive 便宜 昂贵|push pull 推 拉|war peace 战争 和平
friend enemy 朋友 敌人|smooth rough 光滑 粗糙|tight loose 紧 松|first last 最先 最后
"""

# a part|its whole, English then Chinese
_PARTS = """
wheel car 轮子 汽车|petal flower 花瓣 花|branch tree 树枝 树|page book 书页 书|finger hand 手指 手
toe foot 脚趾 脚|roof house 屋顶 房子|feather bird 羽毛 鸟|fin fish 鱼鳍 鱼|pedal bicycle 踏板 自行车
sail ship 船帆 船|elbow arm 手肘 手臂|knee leg 膝盖 腿|nose face 鼻子 脸|pupil eye 瞳孔 眼睛
tooth mouth 牙齿 嘴|cockpit plane 驾驶舱 飞机|carriage train 车厢 火车|letter word 字母 单词|verse poem 诗句 诗
soldier army 士兵 军队|player team 队员 球队|star galaxy 恒星 星系|classroom school 教室 学校|minute hour 分钟 小时
month year 月份 年|lens camera 镜头 相机|hoof horse 马蹄 马|tusk elephant 象牙 大象|hump camel 驼峰 骆驼
antler deer 鹿角 鹿|drawer desk 抽屉 书桌|sleeve shirt 袖子 衬衫|shoelace shoe 鞋带 鞋|blade knife 刀刃 刀
wick candle 烛芯 蜡烛|step staircase 台阶 楼梯|crust bread 面包皮 面包|yolk egg 蛋黄 鸡蛋|keyboard computer 键盘 电脑
brick wall 砖 墙|peak mountain 山峰 山|runway airport 跑道 机场|platform station 站台 车站
"""

# index by index the same person
PEOPLE = {
    "en": ("Anna", "Ben", "Mia", "Tom", "Lily", "Jack", "Emma", "Leo", "Lucy", "Paul"),
    "zh": ("安娜", "本", "米娅", "汤姆", "莉莉", "杰克", "艾玛", "里奥", "露西", "保罗"),
}


@dataclass(frozen=True)
class Word:
    """A word in both languages."""

    en: str
    zh: str

    def text(self, lang: str) -> str:
        return self.zh if lang == "zh" else self.en


@dataclass(frozen=True)
class Pair:
    """A word and the one word it is related to."""

    word: Word
    answer: Word


def _word(cell: str) -> Word:
    en, zh = cell.split("|")
    return Word(en, zh)


def _categories() -> dict[Word, tuple[Word, ...]]:
    rows = (line.split(": ") for line in _CATEGORIES.strip().splitlines())
    return {_word(name): tuple(_word(cell) for cell in members.split()) for name, members in rows}


def _pairs(table: str) -> tuple[Pair, ...]:
    rows = (cell.split() for line in table.strip().splitlines() for cell in line.split("|"))
    return tuple(Pair(Word(en, zh), Word(en_answer, zh_answer)) for en, en_answer, zh, zh_answer in rows)


CATEGORIES = _categories()
HYPERNYMS = tuple(Pair(member, name) for name, members in CATEGORIES.items() for member in members)
ANTONYMS = tuple(pair for one in _pairs(_OPPOSITES) for pair in (one, Pair(one.answer, one.word)))
MERONYMS = _pairs(_PARTS)
