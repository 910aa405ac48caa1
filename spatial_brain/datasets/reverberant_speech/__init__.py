"""Speech in simulated rooms of many kinds, with the rooms' parameters.

``rooms`` draws rooms, ``responses`` simulates and stores them with their
labels, ``recordings`` mixes speech, response and noise when they are asked
for. All but the labels is varied: size and walls, decay by octaves, patterns
of source and microphones, colour, band limits, kind and level of noise.
"""
