"""The built-in provider `echo`: answers from the request, with right usage, without a network.

It is an application of the same server, reached through the same client over a socket pair, so that
a dry run exercises the whole road. It reads what the proxy reads, in every dialect, and answers
whole or streamed. One token is one word, in and out; a picture, a file and a number of a token
array are one each. A directive in the user's last text asks it to misbehave:

    [echo status=503 retry_after=2]   answer with an error status
    [echo delay=1.5s gap=200ms]       wait before the head, and between the chunks of a stream
    [echo words=200]                  answer with that many words
    [echo break=3]                    break off after that many chunks (or bytes of a whole answer)
    [echo tool=get_weather]           call a tool
    [echo text=...]                   answer with exactly this, to the closing bracket

What was asked for is read once (`wish`, `plan`), one module per family of dialects says it
(`chat`, `responses`, `messages`, `vectors`, `pictures`, `sound`, `elsewhere`), and `app` sends it.
All but `app` are pure. What it does not do: hear, see, think, stop at `stop`, and remember.
"""
