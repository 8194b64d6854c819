"""The demo's business and its five e-mails, on days 0, 3, 7, 10 and 14."""

from __future__ import annotations

from typing import Any

ORGANIZATION: dict[str, Any] = {
    "name": "Northlight Coaching",
    "timezone": "Europe/Berlin",
    "postal_address": "Northlight Coaching, Lindenstraße 12, 10969 Berlin, Germany",
}
SENDER: dict[str, Any] = {"sender_id": "default", "name": "Mara Lindqvist", "email": "mara@northlight.example"}
SEQUENCE_NAME = "A calmer week: five letters"
FUNNELS = ("calmer-week-guide", "leadership-webinar", "clarity-quiz")
SITE = "https://northlight.example"

_HELLO = "<p>Hi {{ first_name | default: 'there' }},</p>"
_BYE = "<p>Warmly,<br>Mara<br><em>Northlight Coaching</em></p>"

_WELCOME = f"""{_HELLO}
<p>Thank you for asking for the guide. Here it is: <a href="{SITE}/guide">A calmer week, in twelve pages</a>. It takes a
cup of tea to read and one quiet morning to try.</p>
<p>If you only do one thing from it, do the one on page four: on Monday, write down the three things this week is
<em>for</em>, and put them in the calendar before anyone else can.</p>
<p>Over the next two weeks I will send you four more short letters, about the habits that have helped
people {{% if company %}}in places like {{{{ company }}}}{{% else %}}in teams like yours{{% endif %}} get their
evenings back.</p>
<p>And if you feel like it, just answer this mail and tell me: what takes up the most room in your week? I read every
reply myself.</p>
{_BYE}"""

_MEETINGS = f"""{_HELLO}
<p>Last spring I worked with a head of operations who had thirty-one meetings a week. We did not touch the big ones. We
looked for meetings that nobody would miss.</p>
<p>It came down to three questions, which I still ask everyone:</p>
<ol>
<li>What would we decide here that we could not decide in writing?</li>
<li>Who would notice if I were not there?</li>
<li>What happens if we meet half as often?</li>
</ol>
<p>Four weeks later it was nineteen. I have put the whole story, and the sheet we used, here:
<a href="{SITE}/stories/thirty-one-meetings">Thirty-one meetings</a>.</p>
<p>Try it on tomorrow's calendar. One cancelled half hour is a good start.</p>
{_BYE}"""

_ENERGY = f"""{_HELLO}
<p>Most advice about time is really about energy. The hour after lunch and the hour at nine are both sixty minutes, and
they are not the same hour.</p>
<p>This is the exercise I give in the first session: for five days, write a plus or a minus beside each hour, nothing
more. On Friday you will see two or three hours that are always a plus. Guard those, and give the rest to e-mail.</p>
<p>There is a <a href="{SITE}/tools/energy-map">one-page energy map</a> to print, and if you like to listen rather than
to read, <a href="{SITE}/podcast/energy">a twelve-minute recording</a> for the way home.</p>
<p>How does your week look to you so far{{% if first_name %}}, {{{{ first_name }}}}{{% endif %}}?</p>
{_BYE}"""

_STORY = f"""{_HELLO}
<p>"I thought I needed a better system," Jonas told me after our sixth session. "What I needed was to say no to three
people, kindly."</p>
<p>He leads a team of fourteen, has two small children, and used to open his laptop again at half past nine each
night. We practised the sentence until it was his own. The laptop has stayed shut since September.</p>
<p>You can read how he did it in his own words:
<a href="{SITE}/stories/jonas">Saying no, kindly</a>. The sentence is in the third paragraph. Borrow it.</p>
<p>If you would like to practise yours with me, I keep a few half hours free each week. They cost nothing and there is
no pitch at the end: <a href="{SITE}/book">choose a time that suits you</a>.</p>
{_BYE}"""

_INVITATION = f"""{_HELLO}
<p>This is the last of the five letters. I hope that one of them gave you back an hour.</p>
<p>If you would like company for what comes next, this is how I work: six conversations over three months, one question
to carry between them, and a message from me on the Mondays when it is hardest. That is all. Most people say that the
first conversation was the one that counted.</p>
<p><a href="{SITE}/book">Book a first conversation</a>: thirty minutes, free, and honest about whether coaching is the
right thing for you now.</p>
<p>And if now is not the time, keep the guide, and keep Monday morning to yourself. I wish you a calm week,
{{{{ first_name | default: "and many more" }}}}.</p>
{_BYE}"""

_LETTERS = (
    ("welcome", "Welcome", 0, "Your calmer week, {{ first_name | default: 'as promised' }}", _WELCOME),
    ("meetings", "Thirty-one meetings", 3, "The meeting nobody would miss", _MEETINGS),
    ("energy", "Energy map", 7, "Which hours are really yours?", _ENERGY),
    ("story", "Jonas's story", 10, "Saying no, kindly", _STORY),
    ("invitation", "Invitation", 14, "{{ first_name | default: 'One last thing' }}, shall we talk?", _INVITATION),
)


def definition() -> dict[str, Any]:
    """As sent to ``POST /api/v1/sequences``."""
    return {
        "name": SEQUENCE_NAME,
        "description": "Five letters over two weeks, from the guide to a first conversation.",
        "category": "nurture",
        "audience": "people who asked for the guide, came to the webinar or took the quiz",
        "settings": {
            "stop_on": ["reply", "meeting_booked", "conversion", "unsubscribe", "bounce"],
            "timezone": "lead",
            "windows": [{"start": "09:00", "end": "17:00"}],
        },
        "trigger": {"on": ["created"], "start": "auto", "funnels": list(FUNNELS), "priority": 10},
        "steps": [
            {
                "step_id": step_id,
                "kind": "email",
                "name": name,
                "delay": {"amount": day, "unit": "days", "from": "enrollment"},
                "config": {"subject": subject, "html": html},
            }
            for step_id, name, day, subject, html in _LETTERS
        ],
    }
