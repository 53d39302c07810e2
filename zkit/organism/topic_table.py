# ruff: noqa: E501  (one row of the table a line)
"""What the model can explain: a topic with a gloss, a definition, three things to say about it and an example.

The split is over topics: a styled request is only ever trained on the `train` topics. The `development` and `test`
topics are trained under neutral requests alone, so a style shown on them has generalised.
"""

from __future__ import annotations

from dataclasses import dataclass

from zkit.errors import ZkitError

# name | gloss | definition | three facts, each to follow "it" or "they" | an example
_TABLE = {
    "train": """
photosynthesis|sugar from light|the way plants turn light into sugar|takes place in green leaves|needs water and air|gives off oxygen|a leaf in the sun
a volcano|a fire mountain|an opening in the ground that lets out melted rock|grows where plates meet|can sleep for centuries|covers the land with ash|Mount Etna in Italy
gravity|a pull between masses|the force that pulls masses together|keeps the moon in its orbit|makes things fall|grows weaker with distance|an apple that falls from a tree
a rainbow|split sunlight|an arc of colours made by rain and sun|appears opposite the sun|shows red on the outside|vanishes when the rain stops|a garden hose on a bright day
a database|an ordered store|a place where records are kept in order|answers questions quickly|keeps copies for safety|is shared by many users|the list of books in a library
a compiler|a code translator|a program that turns source code into machine code|checks the code for errors|makes programs faster|runs before the program does|a tool that builds a game
a router|a traffic guide|a device that sends data to the right place|joins several networks|reads the address of each packet|picks the best path|the small box in a living room
a battery|stored power|a cell that stores energy as chemicals|loses power over time|has two different ends|can be charged again|the cell inside a phone
a bridge|a way across|a structure that carries a road over a gap|must bear heavy loads|moves a little in the wind|is checked every year|the old stone arch in a village
a telescope|an eye for stars|a tool that gathers light from far away|uses lenses or mirrors|works best in the dark|shows things as they were|the big mirror on a mountain
an earthquake|shaking ground|a sudden movement of the ground|starts deep below the surface|sends waves through rock|is often followed by others|the one that shook Lisbon
a glacier|moving ice|a slow river of ice|forms from packed snow|carves out valleys|melts in warm years|the white tongues in the Alps
coffee|a bean drink|a hot drink made from roasted beans|keeps people awake|comes from tropical hills|tastes bitter without sugar|an espresso after lunch
cheese|old milk|a food made from curdled milk|is salted and pressed|changes with age|keeps for a long time|a round loaf from Holland
chess|a board game|a game of plans for two players|is played on squares|ends with checkmate|rewards thinking ahead|a quiet match in the park
a violin|a string instrument|a small instrument played with a bow|has four strings|sings in a high voice|takes years to master|the first voice in a quartet
football|a ball game|a team game played with a round ball|has eleven players a side|lasts ninety minutes|is watched around the world|a final on a summer night
a vaccine|practice for the body|a medicine that prepares the body for a disease|trains the immune system|is given before an illness|protects whole groups|the one against measles
a heart|a blood pump|a muscle that pumps blood|beats all day long|has four chambers|speeds up when we run|the drum you feel in your chest
sleep|rest for the brain|the daily rest of body and mind|comes in several stages|helps memory|is needed by all animals|a short nap after work
money|a means of trade|a token that people accept in trade|measures what things cost|can be saved for later|works because of trust|a coin in your pocket
a bank|a money keeper|a business that keeps and lends money|pays a little interest|lends to families|is watched by the state|the office on the corner
a tax|money for the state|a payment that the state collects|pays for roads|depends on income|is decided by law|the part taken from a salary
a law|a public rule|a rule that a state enforces|is written by a parliament|applies to everyone|can be changed|the limit on how fast to drive
an election|a public vote|a way to choose leaders by vote|is held every few years|must be secret and fair|gives power for a time|the choice of a new mayor
a novel|a long story|a long story in prose|follows a few characters|is divided into chapters|shows how people think|a tale of two sisters
a photograph|a light picture|a picture made by light|freezes a moment|needs a lens|fades after many years|a portrait on the wall
an engine|a power maker|a machine that turns fuel into motion|gets very hot|needs oil to run|drives wheels|the motor of a car
a robot|a working machine|a machine that acts by itself|follows a program|feels through sensors|does dull work|the arm that paints cars
a whale|a sea giant|a huge mammal that lives in the sea|breathes air|feeds its young with milk|sings under water|the blue giant of the south
a bee|a honey maker|an insect that gathers nectar|lives in a colony|carries pollen between flowers|dances to show the way|the buzz in a garden
a forest|land under trees|a large area covered by trees|cleans the air|gives a home to animals|holds water in the soil|the dark woods near a village
rain|falling water|water that falls from clouds|fills the rivers|makes crops grow|forms when air cools|a shower in spring
a desert|dry land|a place where it hardly rains|gets cold at night|covers wide areas|is home to tough plants|the sands of the Sahara
a calendar|a table of days|a system for counting days|follows the sun or the moon|has twelve months|tells us when to plant|the page on a kitchen wall
an atom|a building block|the smallest part of an element|has a tiny core|is mostly empty|joins with others|one grain in a drop of water
""",
    "development": """
a prime number|a number with no factors|a number divided only by one and itself|is a block of arithmetic|never stops appearing|guards secret codes|seven, or eleven
soap|a grease remover|a substance that loosens grease|has two different ends|is made from fat|works best in warm water|the bar beside a sink
a river|flowing water|a stream of fresh water that runs to the sea|starts in the hills|shapes the land|carries mud and sand|the Nile in Egypt
paper|pressed fibre|a thin sheet made of wood fibre|takes ink well|can be used again|tears when it is wet|the page of an old letter
a password|a secret word|a secret that proves who you are|should be long|must never be shared|can be guessed when short|the code for a phone
a clock|a time keeper|a device that shows the time|counts a steady beat|needs power|is set by the sun|the tower in the square
a market|a trading place|a place where people buy and sell|sets prices|brings people together|opens early in the day|the fruit stalls on a square
a mirror|a light reflector|a surface that sends light back|swaps left and right|is made of glass and metal|breaks when it falls|the one in a bathroom
""",
    "test": """
a mutex|a thread lock|a lock that lets one thread in at a time|protects shared data|makes other threads wait|must be released after use|a bank account used by two programs
bread|baked dough|a food baked from flour and water|rises with yeast|needs a hot oven|has a crisp crust|a loaf of sourdough
a tide|the moving sea|the rise and fall of the sea|follows the moon|comes twice a day|leaves pools on the beach|the bay that empties at noon
a recursive function|a self call|a function that calls itself|needs a base case|breaks a problem into parts|uses the call stack|the sum of a nested list
a magnet|an iron puller|a body that attracts iron|has two poles|guides a compass|loses strength when heated|the one on a fridge door
a library|a house of books|a place that lends books|is open to everyone|keeps old papers|likes quiet readers|the hall beside the school
a bicycle|a two wheeler|a vehicle with two wheels and pedals|needs no fuel|keeps its rider fit|stays upright when moving|the red one in the yard
the moon|a rock in orbit|the body that circles the earth|shines by sunlight|has no air|shows us one side|the thin crescent at dusk
a virus|a tiny invader|a tiny thing that copies itself in cells|spreads between people|changes over time|cannot live alone|the one behind the flu
a poem|measured words|a text that plays with sound and image|is made of lines|says much in few words|may rhyme|a sonnet about autumn
""",
}
SPLITS = tuple(_TABLE)


@dataclass(frozen=True)
class Topic:
    """One thing the model can explain. `name` carries its article."""

    name: str
    gloss: str
    definition: str
    facts: tuple[str, str, str]
    example: str


def _parse(rows: str) -> tuple[Topic, ...]:
    cells = [row.split("|") for row in rows.strip().splitlines()]
    return tuple(Topic(c[0], c[1], c[2], (c[3], c[4], c[5]), c[6]) for c in cells)


_TOPICS = {split: _parse(rows) for split, rows in _TABLE.items()}


def topics(split: str) -> list[Topic]:
    """The topics of a split: "train", "development" (choose layers on these) or "test" (report on these).

    Raises ZkitError for any other name.
    """
    if split not in _TOPICS:
        raise ZkitError(f"unknown split of topics {split!r}: one of {', '.join(SPLITS)}")
    return list(_TOPICS[split])
