"""Things people say to an assistant, each with a later question that it answers."""

from __future__ import annotations

SAID_AND_ASKED = (
    ("My name is Alice and I live in Lisbon.", "What is my name?"),
    (
        "We adopted a grey kitten last weekend, she is called Miso.",
        "Which pet do we have?",
    ),
    ("I am allergic to peanuts and to shellfish.", "What must I not eat?"),
    ("My sister Clara is getting married in June.", "When is the wedding?"),
    ("I drive an old blue Volvo estate.", "What car do I own?"),
    (
        "Our office moved to the fourth floor of the Mill building.",
        "Where do I work now?",
    ),
    ("I started learning the cello when I was forty.", "Which instrument do I play?"),
    (
        "The deadline for the grant proposal is the 12th of March.",
        "When is the grant due?",
    ),
    ("I broke my left wrist while skiing in Austria.", "Which bone did I injure?"),
    ("My manager is called Henrik, he is from Denmark.", "Who is my boss?"),
    ("I never drink coffee after noon because I sleep badly.", "Why no late espresso?"),
    ("The staging server listens on port 8443.", "On which port is staging?"),
    ("We pay 1,450 euros of rent each month.", "How much does the flat cost?"),
    ("I want to run the Berlin marathon next autumn.", "What race do I train for?"),
    ("Our son Theo is afraid of thunderstorms.", "What frightens my child?"),
    ("I keep the spare key under the third flower pot.", "Where is the extra key?"),
    ("My favourite film is Spirited Away.", "Which movie do I like best?"),
    ("The production database is PostgreSQL 16 with two replicas.", "Which database?"),
    ("I graduated in marine biology from Bergen.", "What did I study?"),
    ("My flight to Toronto leaves at 6:40 on Friday.", "When do I fly to Canada?"),
    ("I have been a vegetarian since 2011.", "Do I eat meat?"),
    ("The password manager we chose is Bitwarden.", "Where do we store our logins?"),
    ("Grandmother's recipe uses rye flour and caraway.", "What goes into the bread?"),
    ("I am reading a biography of Ada Lovelace.", "Which book am I reading?"),
    ("My dentist appointment was moved to Tuesday.", "When do I see the dentist?"),
    ("We named the boat Perseverance.", "What is our boat called?"),
    (
        "I prefer answers in bullet points, not in long paragraphs.",
        "How to format replies?",
    ),
    ("The bug was a race between the cache and the writer.", "What caused the defect?"),
    ("I take the number 7 tram to the university.", "How do I get to campus?"),
    ("My blood type is O negative.", "Which blood group am I?"),
    (
        "The garden gets sun only in the afternoon.",
        "When is it bright outside the house?",
    ),
    ("I speak Portuguese, English and some Finnish.", "Which languages do I know?"),
    (
        "Our budget for the kitchen is nine thousand pounds.",
        "What may the kitchen cost?",
    ),
    (
        "I sold my telescope to a neighbour in spring.",
        "What happened to the telescope?",
    ),
    ("The meeting with the investors went very well.", "How was the investors' talk?"),
    (
        "My phone fell into the lake, so I bought a new one.",
        "Why did I get a new phone?",
    ),
    ("I practise yoga every morning before breakfast.", "What do I do at dawn?"),
    ("We use tabs of four spaces in the Python code.", "How is the source indented?"),
    ("Our anniversary is on the second of October.", "When did we marry?"),
    ("I would like to visit Patagonia one day.", "Where do I dream of travelling?"),
)
