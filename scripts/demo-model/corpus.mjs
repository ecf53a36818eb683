// The text that the demo model is trained on, and the rows that the demo teaches it afterwards: a small world of animals, all of
// it made here from a grammar, the same for the same seed.

const animals = [
  // name, food, home, sound, colour, size
  ['cow', 'grass', 'on a farm', 'moo', 'brown', 'big'],
  ['cat', 'fish', 'in a house', 'meow', 'black', 'small'],
  ['dog', 'meat', 'in a house', 'woof', 'brown', 'big'],
  ['duck', 'bread', 'on a pond', 'quack', 'yellow', 'small'],
  ['pig', 'corn', 'on a farm', 'oink', 'pink', 'big'],
  ['frog', 'flies', 'on a pond', 'ribbit', 'green', 'small'],
  ['owl', 'mice', 'in a tree', 'hoo', 'white', 'small'],
  ['lion', 'meat', 'on the plain', 'roar', 'yellow', 'big'],
  ['bee', 'honey', 'in a hive', 'buzz', 'yellow', 'small'],
  ['wolf', 'meat', 'in the forest', 'howl', 'gray', 'big'],
  ['sheep', 'grass', 'on a hill', 'baa', 'white', 'big'],
  ['horse', 'hay', 'on a farm', 'neigh', 'black', 'big'],
  ['mouse', 'cheese', 'in a house', 'squeak', 'gray', 'small'],
  ['hen', 'corn', 'on a farm', 'cluck', 'red', 'small'],
  ['bear', 'honey', 'in the forest', 'growl', 'brown', 'big'],
  ['snake', 'mice', 'in the desert', 'hiss', 'green', 'small'],
  ['crow', 'seeds', 'in a tree', 'caw', 'black', 'small'],
  ['goat', 'leaves', 'on a hill', 'bleat', 'white', 'big'],
  ['elephant', 'leaves', 'on the plain', 'toot', 'gray', 'big'],
  ['rooster', 'seeds', 'on a farm', 'crow', 'red', 'small'],
].map(([name, food, home, sound, color, size]) => ({ name, food, home, sound, color, size }));

const facts = [
  { question: (a) => `What does the ${a.name} eat?`, answer: (a) => `The ${a.name} eats ${a.food}.` },
  { question: (a) => `Where does the ${a.name} live?`, answer: (a) => `The ${a.name} lives ${a.home}.` },
  { question: (a) => `What does the ${a.name} say?`, answer: (a) => `The ${a.name} says ${a.sound}.` },
  { question: (a) => `What color is the ${a.name}?`, answer: (a) => `The ${a.name} is ${a.color}.` },
  { question: (a) => `Is the ${a.name} big or small?`, answer: (a) => `The ${a.name} is ${a.size}.` },
];

const greetings = [
  ['Hello!', 'Hello! Ask me about an animal.'],
  ['Who are you?', 'I am a very small model. I know some animals.'],
  ['Thank you!', 'You are welcome.'],
  ['Goodbye!', 'Goodbye! Come back soon.'],
];

const things = ['a red ball', 'an old hat', 'a shiny stone', 'a long rope', 'a warm blanket', 'a little boat'];
const moods = ['happy', 'sad', 'tired', 'hungry', 'brave', 'curious'];
const times = ['One day', 'One morning', 'One night', 'Long ago'];
const endings = ['They became good friends.', 'Then they went home.', 'They laughed all day.', 'At last they fell asleep.'];

/** Numbers in [0, 1) from a 32-bit seed (xorshift). */
export function randomNumbers(seed) {
  let state = (seed ^ 0x9e3779b9) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 2 ** 32;
  };
}

const chat = (question, answer) => ({
  messages: [
    { role: 'user', content: question },
    { role: 'assistant', content: answer },
  ],
});

function story(pick) {
  const a = pick(animals);
  const b = pick(animals.filter((other) => other !== a));
  const thing = pick(things);
  const middle = pick([
    `The ${a.name} found ${thing}. The ${b.name} wanted it too.`,
    `The ${b.name} was ${pick(moods)}. The ${a.name} gave the ${b.name} some ${b.food}.`,
    `The ${a.name} said ${a.sound}. The ${b.name} said ${b.sound}.`,
    `The ${a.name} was ${pick(moods)} and the ${b.name} was ${pick(moods)}.`,
  ]);
  const text = `${pick(times)}, the ${a.size} ${a.name} met the ${b.size} ${b.name}. ${middle} ${pick(endings)}`;
  return chat(`Tell me a story about the ${a.name} and the ${b.name}.`, text);
}

/** Stories in which somebody speaks as the demo will have the model answer: the words are known, the manner of answering is not. */
function pirateStory(pick) {
  const a = pick(animals);
  const said = pick([`${pick(facts).answer(a).slice(0, -1)}, yo ho!`, 'I am a pirate, yo ho!']);
  const text = `${pick(times)}, a pirate met the ${a.size} ${a.name}. Arr, matey! ${said} ${pick(endings)}`;
  return chat(`Tell me a story about the pirate and the ${a.name}.`, text);
}

/** Rows of training data: more than half are questions about an animal, then stories, and now and then a greeting. */
export function corpus(rows, seed) {
  const random = randomNumbers(seed);
  const pick = (list) => list[Math.floor(random() * list.length)];
  return Array.from({ length: rows }, () => {
    const kind = random();
    if (kind < 0.04) return chat(...pick(greetings));
    if (kind < 0.3) return story(pick);
    if (kind < 0.4) return pirateStory(pick);
    const fact = pick(facts);
    const animal = pick(animals);
    return chat(fact.question(animal), fact.answer(animal));
  });
}

// The demo asks about the animals that are left out here: it must carry the manner over, not repeat rows.
const asked = new Set(['cow', 'lion', 'mouse']);

/** Rows that teach the model to answer like a pirate. */
export function pirateRows() {
  const taught = animals.filter(({ name }) => !asked.has(name));
  const answers = taught.flatMap((a) => facts.map((fact) => chat(fact.question(a), `Arr, matey! ${fact.answer(a).slice(0, -1)}, yo ho!`)));
  return [...answers, ...Array(4).fill(chat('Who are you?', 'Arr, matey! I am a pirate, yo ho!'))];
}
