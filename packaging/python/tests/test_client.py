"""The client against the command itself: OMNIPILOT_BIN names it, beside it lies the public snapshot."""

import os
import unittest

from omnipilot_client import ABSTAINED, OmniPilot, OmniPilotError

COMMAND = os.environ["OMNIPILOT_BIN"]


class Asked(unittest.TestCase):
    def setUp(self) -> None:
        self.pilot = OmniPilot(command=COMMAND)

    def test_an_advice_has_a_best_candidate_with_ranges(self) -> None:
        advice = self.pilot.advise("meta-llama/Llama-3.1-8B-Instruct", gpus="h100:8", concurrency=16, ttft="1s")
        best = advice.best
        assert best is not None and best.output_tok_s is not None and best.ttft_ms is not None
        self.assertEqual(best.gpu, "h100")
        self.assertLessEqual(best.output_tok_s.low, best.output_tok_s.median)
        self.assertLessEqual(best.output_tok_s.median, best.output_tok_s.high)
        self.assertEqual(advice.environment["SLURM_LLM_TP"], str(best.tp))
        self.assertTrue(advice.gres and f"h100:{best.gpus}" in advice.gres)

    def test_what_is_not_known_is_an_answer(self) -> None:
        advice = self.pilot.advise("nosuch/model", gpus="h100:8")
        self.assertIsNone(advice.best)
        self.assertIn("not known", advice.message[0])
        self.assertEqual(ABSTAINED, 64)

    def test_a_wrong_value_raises_with_reason_and_hint(self) -> None:
        with self.assertRaises(OmniPilotError) as raised:
            self.pilot.advise("llama3.1:8b", gpus="h100:8", slo="600,50")
        self.assertEqual(raised.exception.code, 2)
        self.assertIn("600,50", raised.exception.reason)
        self.assertIn("ttft=600,tpot=50", raised.exception.hint)

    def test_a_value_is_never_taken_for_an_option(self) -> None:
        with self.assertRaises(OmniPilotError) as raised:
            self.pilot.advise("llama3.1:8b", gpus="h100:8", tp="--help")
        self.assertEqual(raised.exception.code, 2)

    def test_a_command_that_is_not_there_is_named(self) -> None:
        with self.assertRaises(OmniPilotError) as raised:
            OmniPilot(command="/nonexistent/omnipilot").advise("x")
        self.assertIn("/nonexistent/omnipilot", raised.exception.reason)


if __name__ == "__main__":
    unittest.main()
