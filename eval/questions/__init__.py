"""Answers to the questions that experiments ask, one question a file; see :mod:`eval.questions.base`."""
