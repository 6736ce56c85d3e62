-- Version 5: lines of one call's ladder that are written together stand in one row; registrations over UDP outlive a restart.

-- How many lines `sealed` holds, each with its leg, time and direction. 0: a single line as it was written before, and `leg`
-- and `sent` are its own.
ALTER TABLE trace ADD COLUMN lines BIGINT NOT NULL DEFAULT 0;

-- The realm whose socket the device registered through. Registrations over UDP come back with a restart: those that are
-- written without it do not, since until now a row did not tell a phone that had signed off.
ALTER TABLE binding ADD COLUMN realm BIGINT NOT NULL DEFAULT 0;
UPDATE binding SET expires = registered WHERE transport = 'udp';
