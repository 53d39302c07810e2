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
a battery|stored power|a cell that stores energy as chemicals|loses power over time|has two different poles|can be charged again|the cell inside a phone
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
a lamp|a small light|a device that gives off light|needs power|helps readers at night|gets warm after some time|the one beside a bed
a garden|a home for plants|a piece of land where people grow plants|needs water and sun|gives food and flowers|changes through the year|the small one behind a house
a boat|a small ship|a small vehicle that moves on water|uses wind or an engine|keeps people dry|carries people and goods|the white one on a lake
a horse|a fast animal|a big animal that people ride|eats grass all day|can sleep on its feet|helps with hard work|the brown one in a field
a school|a place to learn|a place where kids learn together|has many rooms|starts early in the day|gives work to kids|the big house near the park
glass|melted sand|a clear material made from melted sand|lets light in|breaks under heavy loads|keeps water in a bottle|an old green bottle
a build tool|a maker of programs|a program that builds other programs in order|looks for files that changed|keeps what is still good|saves people a lot of time|the one that reads a makefile
a closure|a function with memory|a function that keeps the values around it|has its own memory|holds values after a call|can be given to other functions|a counter made by a function
an outline|a plan in points|a short plan of a longer text|shows the main points|helps with long texts|comes before the text|the headings of a long story
a subscription|a paid plan|a plan that people pay for every month|lets people use a service|ends when nobody pays|keeps money coming in|the one for music on a phone
an advert|a call to buy|a message that asks people to buy something|looks for new buyers|shows things at their best|pays for many free pages|the big one beside a road
a marathon|a very long run|a race on foot over a huge distance|takes more than two hours|needs months of practice|ends with tired legs|the big race in Berlin
a prayer|a talk with a god|a request or thanks spoken to a god|gives hope to people|needs no loud words|is said alone or together|the quiet words before a meal
a temple|a house of faith|a house where people pray to a god|holds very old stones|brings families together|is kept quiet and clean|the white one on a hill
a parliament|a house of leaders|a group that writes the laws of a country|is chosen by vote|has long debates|decides how money is used|the one beside the river in London
a neural network|a net of numbers|a program that learns from many examples|is made of many layers|needs lots of data|makes guesses about new things|one that names animals in a picture
a rumour|talk without facts|a story that people tell without being sure|moves fast between people|changes every time|may turn out to be true|the talk about a new king
a shortage|too little for all|a lack of something that people need|makes goods cost more|starts when everyone buys|ends when there is enough|a village without bread
a therapist|a helper for feelings|a person who helps people with their feelings|works with quiet talks|gives time to people|keeps what people say safe|the calm voice in a hard year
a proof|a sure argument|an argument that shows why something is true|starts from known facts|goes on step by step|ends without any doubt|the one about the sides of a triangle
""",
    "development": """
a prime number|a number with no factors|a number divided only by one and itself|is a block of arithmetic|never stops appearing|guards secret codes|seven, or eleven
soap|a grease remover|a substance that loosens grease|has two different sides|is made from fat|works best in warm water|the bar beside a sink
a river|flowing water|a stream of fresh water that runs to the sea|starts in the hills|shapes the land|carries mud and sand|the Nile in Egypt
paper|pressed fibre|a thin sheet made of wood fibre|takes ink well|can be used again|tears when it is wet|the page of an old letter
a password|a secret word|a secret that proves who you are|should be long|must never be shared|can be guessed when short|the code for a phone
a clock|a time keeper|a device that shows the time|counts a steady beat|needs power|is set by the sun|the tower in the square
a market|a trading place|a place where people buy and sell|sets prices|brings people together|opens early in the day|the fruit stalls on a square
a mirror|a light reflector|a surface that sends light back|swaps left and right|is made of glass and metal|breaks when it falls|the one in a bathroom
a mutex|a thread lock|a lock that lets one thread in at a time|protects shared data|makes other threads wait|must be released after use|a bank account used by two programs
bread|baked dough|a food baked from flour and water|rises with yeast|needs a hot oven|has a crisp crust|a loaf of sourdough
a tide|the moving sea|the rise and fall of the sea|follows the moon|comes twice a day|leaves pools on the beach|the bay that empties at noon
a recursive function|a self call|a function that calls itself|needs a base case|breaks a problem into parts|uses the call stack|the sum of a nested list
a magnet|an iron puller|a body that attracts iron|has two poles|guides a compass|loses strength when heated|the one on a fridge door
a library|a house of books|a place that lends books|is open to everyone|keeps old papers|likes quiet readers|the hall beside the school
a bicycle|a two wheeler|a vehicle with two wheels and pedals|needs no fuel|keeps its rider fit|stays upright when moving|the red one in the yard
the moon|a rock in orbit|the body that circles the earth|shines by sunlight|has no air|shows only one side|the thin crescent at dusk
a virus|a tiny invader|a tiny thing that copies itself in cells|spreads between people|changes over time|cannot live alone|the one behind the flu
a poem|measured words|a text that plays with sound and image|is made of lines|says much in few words|may rhyme|a sonnet about autumn
""",
    "test": """
a window|a hole with glass|an opening in a wall that lets light in|keeps the wind out|is made of glass|gives a view of the street|the small one in a kitchen
a key|a lock opener|a small piece of metal that opens a lock|works in only one door|gets lost in big bags|can be copied in minutes|the one under a stone
a candle|a light made of wax|a stick of wax that burns slowly|gives off a warm light|needs air to burn|gets smaller with time|the one on a dinner table
snow|soft white ice|tiny pieces of ice that fall from clouds|turns into water in spring|keeps plants warm below|makes kids happy|a white morning in winter
salt|a white mineral|a white mineral that people add to food|comes from the sea|keeps food good for longer|makes ice melt|the small grains on bread
an egg|a home in a shell|a round shell in which a young bird grows|has a thin hard wall|must be kept warm|breaks when it is hit|the brown one in a nest
a cat|a soft hunter|a small animal that hunts at night|sees well in the dark|keeps itself clean|sleeps most of the day|the grey one on a wall
a dog|a loyal friend|a loyal animal that lives with people|needs a walk every day|helps people with sheep|smells things from far away|the big one behind a gate
a map|a drawn land|a drawing of a place seen from above|shows roads and rivers|helps people on a walk|makes a big place small|the old one in a car
an island|land in the sea|a piece of land with water all around|has a beach on every side|gets its goods by sea|may start as a volcano|Iceland in the cold north
a teacher|a guide for kids|a person who gives lessons to others|works with books and words|tells kids about the world|must be patient|the kind one in your first year
a letter|words on paper|a written message that people send by post|needs an address|takes days to arrive|can be kept for years|the one from an old friend
a kite|a toy in the wind|a light toy that flies on a string|needs enough wind|goes up when it is pulled|is made of paper and sticks|the red one over a beach
a piano|a box of strings|a big instrument played with many keys|makes loud and soft sounds|has strings inside|gets out of tune|the black one in a hall
a road|a way for cars|a hard way made for cars and people|goes from place to place|gets holes after winter|changes the land around it|the long one to the sea
a wheel|a turning ring|a round part that turns on its centre|makes heavy loads easy to move|works best on flat ground|carries a car with ease|the big one at a mill
a balloon|a bag of air|a thin bag that people fill with air|goes up when heated|breaks with a loud sound|gets smaller after some days|the blue one on a string
a spider|a web maker|a small animal with eight legs|makes a web of thin strings|eats small insects|feels when the web moves|the black one in a corner
a bird|a flying animal|an animal with two wings and feathers|lives in a nest|looks for seeds and insects|sings in the morning|the small brown one in a tree
a seed|a small start|a small grain that grows into a plant|holds food for the plant|needs warm soil|can sleep for years|the hard one in a plum
an apple|a tree fruit|a round fruit with small dark seeds|grows in cool places|turns red in autumn|keeps well in the cold|the green one in a school bag
rice|a wet grain|a grain that grows in wet fields|gets soft in hot water|feeds half of the world|needs lots of rain|a white bowl in Japan
honey|sugar from bees|a sweet food that bees make from nectar|keeps for many years|comes from many flowers|helps with a cold|the yellow jar beside the bread
a cloud|drops in the sky|a mass of tiny drops in the sky|moves with the wind|gives rain or snow|looks like white wool|the grey one over a hill
lightning|a spark in the sky|a big spark from a cloud to the ground|comes before the thunder|gives off light and heat|looks for high points|the flash over a dark field
a star|a far sun|a big ball of hot gas in space|gives off its own light|shines for ages|looks small from here|the bright one in the north
a comet|ice with a tail|a ball of ice that circles the sun|gets a tail near the sun|comes back after many years|is made of ice and dust|the one named after Halley
a dream|a story in sleep|a story that the mind makes in sleep|takes place at night|ends when people wake up|shows things that never happened|the one in which you fly
a museum|a house of old things|a place that shows old things to people|keeps things safe|tells people about the past|has many quiet rooms|the big one in Paris
a hospital|a house for the sick|a place where sick people get help|works at all hours|has many beds|fixes broken legs|the tall one near the bridge
a farm|a food maker|a place where people grow food and keep animals|needs good soil|starts the day very early|sells milk at the market|the old one behind a forest
an airport|a home for planes|a place where planes take off and land|needs lots of flat land|takes people far away|gets very loud|the big one near London
a bug|a code mistake|a mistake in the code of a program|gives wrong answers|is found by tests|takes hours to find|the one that ends a game
a backup|a spare copy|a copy of data kept in another place|helps when a machine breaks|must be made often|takes up some space|the second disk in a drawer
an elephant|a gentle giant|a huge grey animal with a long nose|lives in a family|uses its nose like a hand|keeps places in its memory|the old one in Kenya
a bone|a hard body part|a hard part that carries the body|grows in young people|fixes itself after a break|gets weak with age|the long one in your leg
""",
}
SPLITS = tuple(_TABLE)
# the development topics whose neutral answers are looked into layer by layer
PROBES = (
    "bread",
    "a tide",
    "a mutex",
    "a recursive function",
    "a magnet",
    "a library",
    "a bicycle",
    "the moon",
    "a virus",
    "a poem",
)


@dataclass(frozen=True)
class Subject:
    """One thing the model can explain. `name` carries its article."""

    name: str
    gloss: str
    definition: str
    facts: tuple[str, str, str]
    example: str


def _parse(rows: str) -> tuple[Subject, ...]:
    cells = [row.split("|") for row in rows.strip().splitlines()]
    return tuple(Subject(c[0], c[1], c[2], (c[3], c[4], c[5]), c[6]) for c in cells)


_TOPICS = {split: _parse(rows) for split, rows in _TABLE.items()}


def topics(split: str) -> list[Subject]:
    """The topics of a split: "train", "development" (choose layers on these) or "test" (report on these).

    Raises ZkitError for any other name.
    """
    if split not in _TOPICS:
        raise ZkitError(f"unknown split of topics {split!r}: one of {', '.join(SPLITS)}")
    return list(_TOPICS[split])
