from backapp_core.model.schedules import Schedule


def test_schedule_is_cron_in_utc_unless_said_otherwise():
    assert Schedule("30 2 * * *") == Schedule("30 2 * * *", time_zone="UTC", scheduler="cron")
