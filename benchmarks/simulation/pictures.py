"""placeholder"""


def regrets_of(document):
    return []


def draw_all(contest, regrets, folder):
    return []
